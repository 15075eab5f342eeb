//! Where connections rest that have been idle for a while: without a task, and without an entry of
//! their own in the event loop, which would take several times what is kept of them here. Never
//! reads: whoever stirs gets a task again.

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

/// Idle connections called in one poll before others get their turn.
const WOKEN: usize = 64;

/// What is kept of a connection at rest.
#[derive(Debug)]
pub(crate) struct IdleConnection {
    pub(crate) stream: TcpStream,
    /// Who is connected.
    pub(crate) peer: IpAddr,
    /// The port it connected to, as text.
    pub(crate) port: Rc<str>,
    /// Since when it is idle.
    pub(crate) since_ms: u64,
}

/// Watches the sockets of all idle connections of one worker, as one entry in its event loop.
#[derive(Debug)]
pub(crate) struct IdleSet {
    /// No socket: to be told of events, any descriptor will do.
    epoll: tokio::net::TcpStream,
}

impl IdleSet {
    /// Within a runtime.
    pub(crate) fn open() -> io::Result<Self> {
        let epoll = TcpStream::from(epoll::create(CreateFlags::CLOEXEC)?);
        epoll.set_nonblocking(true)?;
        Ok(Self { epoll: tokio::net::TcpStream::from_std(epoll)? })
    }

    /// Watches a socket from now on. What has come before is told, too.
    pub(crate) fn enter(&self, stream: &TcpStream, timer: TimerId) -> io::Result<()> {
        let data = EventData::new_u64(timer.number());
        epoll::add(&self.epoll, stream, data, EventFlags::IN | EventFlags::RDHUP)?;
        Ok(())
    }

    /// Watches it no longer.
    pub(crate) fn leave(&self, stream: &TcpStream) {
        // It cannot fail for a socket that is watched and open.
        let _ = epoll::delete(&self.epoll, stream);
    }

    /// Waits for idle connections that have something to say or have gone. Until they leave it tells of them
    /// again and again.
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

/// The connections that an epoll tells of. `WouldBlock` if there are none.
fn stirring(epoll: &tokio::net::TcpStream) -> io::Result<Vec<TimerId>> {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut events = Vec::with_capacity(WOKEN);
    match epoll::wait(epoll, spare_capacity(&mut events), Some(&at_once)) {
        Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
        // Nothing was missed: the next call tells.
        Ok(_) | Err(Errno::INTR) => {
            Ok(events.iter().map(|event| TimerId::of_number(event.data.u64())).collect())
        }
        Err(error) => Err(error.into()),
    }
}
