//! Keeps connections that have been idle for a while: without a task, and without an entry of their own
//! in the event loop, which would take several times the memory that is kept of them here. Never reads: a
//! connection with an event gets a task again.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use tokio::io::Interest;

use crate::timer_id::TimerId;

/// Idle connections woken in one poll, before other tasks are polled.
const WOKEN: usize = 64;

/// The part of an idle connection that is kept.
#[derive(Debug)]
pub(crate) struct IdleConnection {
    pub(crate) stream: TcpStream,
    /// The address of the connected peer.
    pub(crate) peer: IpAddr,
    /// The port that the peer connected to, as text.
    pub(crate) port: Rc<str>,
    /// The time since when the connection is idle.
    pub(crate) since_ms: u64,
}

/// Watches the sockets of all idle connections of one worker, with one entry in its event loop.
#[derive(Debug)]
pub(crate) struct IdleSet {
    /// An epoll descriptor, not a socket: any descriptor can receive readiness events.
    epoll: tokio::net::TcpStream,
}

impl IdleSet {
    /// Opens an empty set. Must be called within a runtime.
    pub(crate) fn open() -> io::Result<Self> {
        let epoll = TcpStream::from(epoll::create(CreateFlags::CLOEXEC)?);
        epoll.set_nonblocking(true)?;
        Ok(Self { epoll: tokio::net::TcpStream::from_std(epoll)? })
    }

    /// Watches a socket from now on. Earlier events are reported, too.
    pub(crate) fn enter(&self, stream: &TcpStream, timer: TimerId) -> io::Result<()> {
        let data = EventData::new_u64(timer.number());
        epoll::add(&self.epoll, stream, data, EventFlags::IN | EventFlags::RDHUP)?;
        Ok(())
    }

    /// Stops watching a socket.
    pub(crate) fn leave(&self, stream: &TcpStream) {
        // This cannot fail for a socket that is watched and open.
        let _ = epoll::delete(&self.epoll, stream);
    }

    /// Waits for idle connections with events: bytes have come, or the client has left. Reports a
    /// connection again at each call until it is removed from the set.
    pub(crate) fn poll_stirring(&self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<TimerId>>> {
        loop {
            ready!(self.epoll.poll_read_ready(cx))?;
            match self.epoll.try_io(Interest::READABLE, || stirring(&self.epoll)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                stirring => return Poll::Ready(stirring),
            }
        }
    }
}

/// Returns the connections with events. `WouldBlock` if there are none.
fn stirring(epoll: &tokio::net::TcpStream) -> io::Result<Vec<TimerId>> {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut events = Vec::with_capacity(WOKEN);
    match epoll::wait(epoll, spare_capacity(&mut events), Some(&at_once)) {
        Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
        // No event is lost: the next call returns it.
        Ok(_) | Err(Errno::INTR) => {
            Ok(events.iter().map(|event| TimerId::of_number(event.data.u64())).collect())
        }
        Err(error) => Err(error.into()),
    }
}
