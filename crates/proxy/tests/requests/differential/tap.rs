//! A wire tap between proxy and origin: passes bytes on, ends and resets too, and keeps them.
//! Understands nothing of them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

/// Who ended a connection first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Proxy,
    Origin,
}

/// All that went over one connection.
#[derive(Debug)]
pub struct Recorded {
    pub sent: Vec<u8>,
    pub answered: Vec<u8>,
    pub ended_by: Side,
}

/// A tap. Connections made to `at` go on to the origin.
#[derive(Debug)]
pub struct Tap {
    pub at: SocketAddr,
    connections: Arc<Mutex<Vec<JoinHandle<Recorded>>>>,
}

impl Tap {
    pub fn before(origin: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = listener.local_addr().expect("an address");
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&connections);
        std::thread::spawn(move || {
            for from_proxy in listener.incoming().flatten() {
                let thread = std::thread::spawn(move || record(from_proxy, origin));
                kept.lock().expect("no thread panics with it").push(thread);
            }
        });
        Self { at, connections }
    }

    /// What went over all connections. Both sides must have been told to end.
    pub fn finish(self) -> Vec<Recorded> {
        let threads =
            std::mem::take(&mut *self.connections.lock().expect("no thread panics with it"));
        threads.into_iter().map(|thread| thread.join().expect("a recording")).collect()
    }
}

fn record(proxy: TcpStream, origin: SocketAddr) -> Recorded {
    let origin = TcpStream::connect(origin).expect("the origin takes connections");
    let _ = (proxy.set_nodelay(true), origin.set_nodelay(true));
    let first = OnceLock::new();
    std::thread::scope(|scope| {
        let forth = scope.spawn(|| pass(&proxy, &origin, Side::Proxy, &first));
        let answered = pass(&origin, &proxy, Side::Origin, &first);
        let sent = forth.join().expect("no panic");
        Recorded { sent, answered, ended_by: *first.get().expect("both have ended") }
    })
}

/// Copies until `from` ends, and passes on how it ended.
fn pass(mut from: &TcpStream, mut to: &TcpStream, side: Side, first: &OnceLock<Side>) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let end = match from.read(&mut buffer) {
            Ok(0) => Ok(()),
            Ok(count) => {
                kept.extend_from_slice(&buffer[..count]);
                // Whoever takes no more will say so in the other direction.
                let _ = to.write_all(&buffer[..count]);
                continue;
            }
            Err(error) => Err(error),
        };
        first.get_or_init(|| side);
        match end {
            Ok(()) => drop(to.shutdown(Shutdown::Write)),
            // The kernel answers a disconnection with a reset, also while another thread reads.
            Err(_) => drop(rustix::net::connect_unspec(to)),
        }
        return kept;
    }
}
