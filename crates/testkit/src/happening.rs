//! What will happen in a world, and how unkind it is.

use std::sync::Arc;

use control::Event;
use model::{InstanceId, Snapshot};

use crate::host::Next;
use crate::hosts::{Errand, HostNo};

/// Something that will happen.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// Reaches the engine of that epoch, if it still lives.
    Deliver(Event),
    /// Reaches the agent.
    Host(model::HostCommand),
    /// A machine does what it was to do.
    Errand(Errand),
    /// A dead machine is there again.
    ComeBack(HostNo),
    /// The append under way reaches the disk.
    Append,
    /// A worker of that proxy swaps.
    Swap(usize, usize, Arc<Snapshot>),
    /// A request at that worker of that proxy ends.
    Done(usize, usize, InstanceId),
    /// That proxy reports, as it does every second.
    Heartbeat(usize),
    /// The engine wanted to be asked again.
    Wake,
    /// Control begins again, in a server that goes on.
    BeginAgain,
    /// The server starts again.
    Restart,
}

impl Happening {
    /// What dies with the server process.
    pub fn is_mortal(&self) -> bool {
        match self {
            Self::Deliver(_)
            | Self::Host(_)
            | Self::Append
            | Self::Heartbeat(_)
            | Self::Wake
            | Self::BeginAgain => true,
            // Only the first proxy is a part of the server.
            Self::Swap(proxy, ..) | Self::Done(proxy, ..) => *proxy == 0,
            Self::Errand(errand) => match errand.next {
                Next::Report(_) | Next::Work | Next::Probe(_) => true,
                Next::Die(_) | Next::Stopped(_) => false,
            },
            Self::ComeBack(_) | Self::Restart => false,
        }
    }
}

/// How unkind the world is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// One message in so many is lost; 0 loses none.
    pub lose: u64,
    /// One message in so many comes twice; 0 repeats none.
    pub repeat: u64,
    /// One report in so many comes seconds later, after others; 0 delays none.
    pub late: u64,
    /// One swap in so many takes seconds; 0 is never slow.
    pub slow_swap: u64,
    /// Of one append in so many control is not told what has become; 0 tells of all.
    pub lose_append: u64,
}
