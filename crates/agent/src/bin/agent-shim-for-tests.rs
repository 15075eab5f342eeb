//! The hidden verbs alone, and a small app, for this crate's tests. Not shipped.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "__shim", folder] => agent::shim::main(Path::new(folder)),
        [_, "__exec", folder] => agent::shim::exec(Path::new(folder)),
        [_, "__serve", closed] => {
            // It never ends by itself.
            let _ = serve(Path::new(closed));
            ExitCode::FAILURE
        }
        _ => ExitCode::from(2),
    }
}

/// Answers every request with 200 at the address that the environment names, but listens only while
/// there is no file `closed`.
fn serve(closed: &Path) -> std::io::Result<()> {
    let of = |name| std::env::var(name).unwrap_or_default();
    let wrong = |_| ErrorKind::InvalidInput;
    let ip: IpAddr = of("HOST").parse().map_err(wrong)?;
    let address = SocketAddr::new(ip, of("PORT").parse().map_err(|_| ErrorKind::InvalidInput)?);
    loop {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        // So that a test can listen beside it.
        sockopt::set_socket_reuseport(&socket, true)?;
        // And after it, whatever is left of connections.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, 128)?;
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        while !closed.exists() {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nonblocking(false)?;
                    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => pause(),
                Err(e) => return Err(e),
            }
        }
        drop(listener);
        while closed.exists() {
            pause();
        }
    }
}

fn pause() {
    // it waits: for a connection, or for the test's word
    std::thread::sleep(Duration::from_millis(5));
}
