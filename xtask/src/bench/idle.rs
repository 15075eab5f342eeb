//! Memory of connections that are idle after one request each: the growth of a fresh process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::behind::Behind;
use super::capacity::connections;
use super::case::SMALL;
use super::contender::{self, COMPARED, Contender, in_turn, subfolder};
use super::report::{cell, heading, row};
use super::statistics::Spread;

const PATIENCE: Duration = Duration::from_secs(5);
/// Time between the last answer and the measurement of the memory.
const REST: Duration = Duration::from_millis(500);

/// Measures `rounds` times, and returns the table.
pub(super) fn table(
    behind: &Behind,
    rounds: usize,
    (core, folder): (usize, &Path),
) -> Result<String, String> {
    raise_file_limit();
    let count = connections();
    let mut grown: [Vec<f64>; 3] = Default::default();
    for round in 0..rounds {
        for at in in_turn(COMPARED.len(), round) {
            let own = subfolder(folder, &format!("idle-{round}-{at}"))?;
            let contender = contender::start(COMPARED[at], behind, (core, &own))?;
            let bytes = growth(&contender, count)
                .map_err(|why| format!("idle connections of {}: {why}", COMPARED[at].name()))?;
            println!("idle, round {}: {} {bytes:.0} bytes", round + 1, COMPARED[at].name());
            grown[at].push(bytes);
        }
    }
    let mut out = format!(
        "### Growth of memory per idle connection, ours ÷ theirs\n\nPSS of a fresh process, with \
         {count} connections that idle after one request each.\n\n"
    );
    out += &heading("what", &COMPARED[1..].iter().map(|who| who.name()).collect::<Vec<_>>());
    let ratios = grown[1..].iter().map(|theirs| cell(Spread::of_ratios(&grown[0], theirs)));
    out += &row("an idle connection", &ratios.collect::<Vec<_>>());
    Ok(out)
}

/// Returns the growth of a contender in bytes per connection.
fn growth(contender: &Contender, count: usize) -> Result<f64, String> {
    // Memory needed for the first connection alone does not belong to the connections.
    drop(served(contender.address)?);
    let before = contender.child.pss()?;
    let idle: Vec<TcpStream> =
        (0..count).map(|_| served(contender.address)).collect::<Result<_, _>>()?;
    thread::sleep(REST);
    let after = contender.child.pss()?;
    let open = |mut stream: &TcpStream| {
        let quiet = stream.set_nonblocking(true).and_then(|()| stream.read(&mut [0]));
        quiet.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    if let Some(closed) = idle.iter().position(|stream| !open(stream)) {
        return Err(format!("connection {closed} of {count} did not stay open"));
    }
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    Ok(after.saturating_sub(before) as f64 / count as f64)
}

/// Returns a connection that has received one answer.
fn served(address: SocketAddr) -> Result<TcpStream, String> {
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("GET /small HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
        let (mut answer, wanted) = (Vec::new(), [b'x'; SMALL]);
        while !answer.ends_with(&wanted) {
            let mut part = [0; 1024];
            match stream.read(&mut part)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => answer.extend_from_slice(&part[..read]),
            }
        }
        Ok(stream)
    };
    exchange().map_err(|error: std::io::Error| format!("cannot ask {address}: {error}"))
}

/// Raises the limit of open files, since this process holds the other ends of all those connections.
fn raise_file_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // If this fails, a connection fails later, which is reported.
    let _kept = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
