//! As many connections as there may be, over real sockets: those who take most make room, everybody
//! else is served.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use model::Millis;
use proxy::{Limits, Proxy};
use rustix::process::{Resource, getrlimit};

use crate::common::*;

/// The default, which the test takes if there are files for both ends of so many.
const CONNECTIONS: usize = 20_000;
/// Files for everything that is no client's connection.
const OTHER_FILES: usize = 600;

/// How many connections this process can have both ends of. Starting a proxy has raised its limit.
fn affordable() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    CONNECTIONS.min(files.saturating_sub(OTHER_FILES) / 2)
}

fn connect(from: [u8; 4], world: &World) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("bound");
    socket.connect(&world.at.into()).expect("connected");
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// One request on a connection that stays.
fn get(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        let mut part = [0; 512];
        match stream.read(&mut part)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    Ok(())
}

fn connections(world: &World) -> usize {
    usize::try_from(world.sample("segue_connections")).expect("few enough")
}

#[test]
fn a_flood_from_a_few_addresses_makes_room_and_everybody_else_is_served() {
    // Binding raises the limit of files, so that what is affordable is known.
    drop(Proxy::bind(config()).expect("a free port"));
    let most = affordable();
    // Nothing leaves by itself: only who has to make room does.
    let (head, idle) = (Millis::from_secs(3600), Millis::from_secs(3600));
    let limits = Limits { connections: most, head, idle, ..Limits::default() };
    let world = World::with(&one(1, 1, saying("ok")), limits);
    let begun = Instant::now();
    // A hundred users, each with a connection of its own that idles.
    let users: Vec<_> = (0..100).map(|user| connect([127, 0, 1, user], &world)).collect();
    users.iter().for_each(|user| get(user).expect("served"));
    // Four addresses take the rest and more: idle ones, silent ones and half heads.
    let mut flood = Vec::with_capacity(most);
    for number in 0..most - users.len() {
        let mut stream = connect([127, 0, 2, (number % 4) as u8], &world);
        match number % 3 {
            0 => drop(stream.write_all(b"GET / HTTP/1.1\r\nHo")),
            // One that had to leave at once had its bad luck.
            1 if number % 30 == 1 => drop(get(&stream)),
            _ => {}
        }
        flood.push(stream);
        if number % 500 == 0 {
            let now = connections(&world);
            assert!(now <= most, "{now} connections of {most}");
        }
    }
    eventually("a tenth is free again", || (connections(&world) <= most - most / 10).then_some(()));
    // Newcomers find room, and whoever was there before the flood was not touched.
    for newcomer in 0..200 {
        get(&connect([127, 0, 3, newcomer], &world)).expect("a newcomer is served");
    }
    for user in &users {
        get(user).expect("the user of before is served");
    }
    let left = connections(&world);
    assert!(left > most / 2, "{left} connections of {most} are left: too many had to go");
    drop(flood);
    eventually("the flood is over", || (connections(&world) <= users.len()).then_some(()));
    assert!(begun.elapsed() < 2 * PATIENCE, "it took {:?}", begun.elapsed());
}
