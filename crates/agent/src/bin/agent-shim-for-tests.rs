//! The hidden verbs and a small app, for this crate's tests. Not shipped.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
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
            // `serve` returns only with an error.
            let _ = serve(Path::new(closed));
            ExitCode::FAILURE
        }
        [_, "__reach", socket] => {
            let beside = Path::new(socket).with_file_name("other.sock");
            let connect = UnixStream::connect(socket).map(drop).map_err(|e| e.kind());
            let bind = UnixListener::bind(beside).map(drop).map_err(|e| e.kind());
            let text = format!("connect: {connect:?}\nbind: {bind:?}\n");
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(2),
    }
}

/// Answers every request with 200 at the address that the environment names. Listens only while there is no
/// file `closed`.
fn serve(closed: &Path) -> std::io::Result<()> {
    if let Some(path) = std::env::var_os("SOCKET") {
        return serve_socket(Path::new(&path));
    }
    let of = |name| std::env::var(name).unwrap_or_default();
    let wrong = |_| ErrorKind::InvalidInput;
    let ip: IpAddr = of("HOST").parse().map_err(wrong)?;
    let address = SocketAddr::new(ip, of("PORT").parse().map_err(|_| ErrorKind::InvalidInput)?);
    loop {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        // Allows a test to listen at the same address.
        sockopt::set_socket_reuseport(&socket, true)?;
        // Allows binding while connections of an earlier socket remain.
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

/// Serves on a unix socket. Fails if the path exists, or if a port was passed as well.
fn serve_socket(path: &Path) -> std::io::Result<()> {
    if ["HOST", "PORT"].iter().any(|name| std::env::var_os(name).is_some()) {
        return Err(ErrorKind::InvalidInput.into());
    }
    for stream in UnixListener::bind(path)?.incoming() {
        let mut stream = stream?;
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    Ok(())
}

fn pause() {
    // it waits: for a connection, or for the file with which a test closes the listener
    std::thread::sleep(Duration::from_millis(5));
}
