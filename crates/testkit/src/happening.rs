//! Future events of a world, and the rates of faults.

use std::sync::Arc;

use control::Event;
use model::{Generation, InstanceId, Snapshot};

use crate::host::Next;
use crate::hosts::{Errand, HostNo};

/// A future event.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// An event reaches the engine of its epoch, if that still lives.
    Deliver(Event),
    /// A command reaches the agent.
    Host(model::ToHost),
    /// A machine carries out a scheduled event.
    Errand(Errand),
    /// A dead machine comes back.
    ComeBack(HostNo),
    /// Control learns that a host is not heard, unless its connection was healed since that cut.
    Unheard(HostNo, u64),
    /// A connection is healed, unless it was cut again since that cut.
    Heal(HostNo, u64),
    /// An agent connects.
    Connect(HostNo),
    /// A separate proxy connects.
    ProxyConnects(usize),
    /// Control learns that a proxy is not heard, unless its connection was healed since that cut.
    ProxyUnheard(usize, u64),
    /// The connection to a proxy is healed, unless it was cut again since that cut.
    ProxyHeals(usize, u64),
    /// The append in progress reaches the disk.
    Append,
    /// A proxy is told to prepare its table for a snapshot.
    Prepare(usize, Arc<Snapshot>),
    /// A proxy is told to use a prepared table.
    Commit(usize, Generation),
    /// A worker swaps.
    Swap(At, Arc<Snapshot>),
    /// A request ends.
    Done(At, InstanceId),
    /// A dead proxy comes back.
    ProxyComesBack(usize),
    /// A proxy asks instances on other machines.
    Asks(usize),
    /// A proxy sends its report of every second.
    Heartbeat(usize),
    /// A scraper reads the metrics of a proxy, and will again.
    Scrape(usize),
    /// The time for which the engine asked to be called.
    Wake,
    /// Control restarts in a server that keeps running.
    BeginAgain,
    /// The server starts again.
    Restart,
}

impl Happening {
    /// Returns whether the event dies with the server process.
    pub fn is_mortal(&self) -> bool {
        match self {
            Self::Deliver(_)
            | Self::Host(_)
            | Self::Append
            | Self::Heartbeat(_)
            | Self::Wake
            | Self::BeginAgain => true,
            // Only the first proxy is part of the server.
            Self::Prepare(proxy, _) | Self::Commit(proxy, _) => *proxy == 0,
            Self::Swap(at, _) | Self::Done(at, _) => at.proxy == 0,
            Self::Errand(errand) => match errand.next {
                Next::Report(_) | Next::Work | Next::Probe(_) => true,
                Next::Die(..) | Next::Stopped(_) => false,
            },
            Self::ComeBack(_)
            | Self::Unheard(..)
            | Self::Heal(..)
            | Self::Connect(_)
            | Self::ProxyConnects(_)
            | Self::ProxyUnheard(..)
            | Self::ProxyHeals(..)
            | Self::ProxyComesBack(_)
            | Self::Asks(_)
            | Self::Scrape(_)
            | Self::Restart => false,
        }
    }
}

/// A worker of a proxy, in one of the proxy's processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    /// The proxy.
    pub proxy: usize,
    /// The number of its process.
    pub epoch: u64,
    /// The worker.
    pub worker: usize,
}

/// The rates of faults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// One in this many messages is lost; 0 loses none.
    pub lose: u64,
    /// One in this many commands about what to keep is lost as well; 0 loses none.
    pub lose_keep: u64,
    /// One in this many reports of a host is lost; 0 loses none.
    pub lose_report: u64,
    /// One in this many messages arrives twice; 0 repeats none.
    pub repeat: u64,
    /// One in this many reports arrives seconds later, after others; 0 delays none.
    pub late: u64,
    /// One in this many swaps takes seconds; 0 delays none.
    pub slow_swap: u64,
    /// Control does not learn the result of one in this many appends; 0 reports all.
    pub lose_append: u64,
}
