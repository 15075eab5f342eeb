//! A relay between members and a door, which can be cut like a cable.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// Carries bytes between members and the door, until it is cut.
pub struct Relay {
    pub address: SocketAddr,
    cable: Arc<Cable>,
}

#[derive(Default)]
struct Cable {
    state: Mutex<CableState>,
    healed: Condvar,
}

#[derive(Default)]
struct CableState {
    to_member_is_cut: bool,
    to_server_is_cut: bool,
    /// Bytes that still get to members before their connections break; `None` for any number.
    left: Option<usize>,
}

#[derive(Clone, Copy)]
enum Direction {
    ToMember,
    ToServer,
}

impl Relay {
    pub fn start(door: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cable = Arc::<Cable>::default();
        let of_thread = Arc::clone(&cable);
        std::thread::spawn(move || {
            for member in listener.incoming() {
                let (Ok(member), Ok(server)) = (member, TcpStream::connect(door)) else { return };
                let (from, to) = (member.try_clone().unwrap(), server.try_clone().unwrap());
                carry((from, to), Direction::ToServer, &of_thread);
                carry((server, member), Direction::ToMember, &of_thread);
            }
        });
        Self { address, cable }
    }

    /// Carries nothing any more, in either direction. Connections stay open.
    pub fn cut(&self) {
        self.change(|state| (state.to_member_is_cut, state.to_server_is_cut) = (true, true));
    }

    /// Carries nothing to members any more.
    pub fn cut_to_member(&self) {
        self.change(|state| state.to_member_is_cut = true);
    }

    pub fn heal(&self) {
        self.change(|state| (state.to_member_is_cut, state.to_server_is_cut) = (false, false));
    }

    /// Breaks the connections once so many more bytes went to members.
    pub fn break_after(&self, bytes: usize) {
        self.change(|state| state.left = Some(bytes));
    }

    fn change(&self, change: impl FnOnce(&mut CableState)) {
        change(&mut self.cable.state.lock().unwrap());
        self.cable.healed.notify_all();
    }
}

impl Cable {
    /// Waits while the cable is cut. Returns whether these bytes may pass.
    fn passes(&self, bytes: usize, direction: Direction) -> bool {
        let is_cut = |state: &mut CableState| match direction {
            Direction::ToMember => state.to_member_is_cut,
            Direction::ToServer => state.to_server_is_cut,
        };
        let mut state = self.healed.wait_while(self.state.lock().unwrap(), is_cut).unwrap();
        match (direction, &mut state.left) {
            (Direction::ToMember, Some(left)) if *left < bytes => false,
            (Direction::ToMember, Some(left)) => {
                *left -= bytes;
                true
            }
            (Direction::ToMember, None) | (Direction::ToServer, _) => true,
        }
    }
}

fn carry((mut from, mut to): (TcpStream, TcpStream), direction: Direction, cable: &Arc<Cable>) {
    let cable = Arc::clone(cable);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if !cable.passes(read, direction) || to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}
