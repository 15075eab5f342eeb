//! What will happen in a world, and how unkind it is.

use std::sync::Arc;

use control::Event;
use model::{Generation, InstanceId, Snapshot};

use crate::host::Next;
use crate::hosts::{Errand, HostNo};

/// Something that will happen.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// Reaches the engine of that epoch, if it still lives.
    Deliver(Event),
    /// Reaches the agent.
    Host(model::ToHost),
    /// A machine does what it was to do.
    Errand(Errand),
    /// A dead machine is there again.
    ComeBack(HostNo),
    /// The append under way reaches the disk.
    Append,
    /// A proxy is told to make its table of a snapshot.
    Prepare(usize, Arc<Snapshot>),
    /// A proxy is told to use it.
    Commit(usize, Generation),
    /// A worker swaps.
    Swap(At, Arc<Snapshot>),
    /// A request ends.
    Done(At, InstanceId),
    /// A dead proxy is there again.
    ProxyComesBack(usize),
    /// That proxy reports, as it does every second.
    Heartbeat(usize),
    /// Somebody scrapes the metrics of that proxy, and will again.
    Scrape(usize),
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
            Self::Prepare(proxy, _) | Self::Commit(proxy, _) => *proxy == 0,
            Self::Swap(at, _) | Self::Done(at, _) => at.proxy == 0,
            Self::Errand(errand) => match errand.next {
                Next::Report(_) | Next::Work | Next::Probe(_) => true,
                Next::Die(..) | Next::Stopped(_) => false,
            },
            Self::ComeBack(_) | Self::ProxyComesBack(_) | Self::Scrape(_) | Self::Restart => false,
        }
    }
}

/// A worker of a proxy, in one of its processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    /// Which proxy.
    pub proxy: usize,
    /// Which of its processes.
    pub epoch: u64,
    /// Which of its workers.
    pub worker: usize,
}

/// How unkind the world is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// One message in so many is lost; 0 loses none.
    pub lose: u64,
    /// One command about what to keep in so many is lost besides; 0 loses none.
    pub lose_keep: u64,
    /// One report of a host in so many is lost; 0 loses none.
    pub lose_report: u64,
    /// One message in so many comes twice; 0 repeats none.
    pub repeat: u64,
    /// One report in so many comes seconds later, after others; 0 delays none.
    pub late: u64,
    /// One swap in so many takes seconds; 0 is never slow.
    pub slow_swap: u64,
    /// Of one append in so many control is not told what has become; 0 tells of all.
    pub lose_append: u64,
}
