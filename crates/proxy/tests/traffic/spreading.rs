//! Long-lived connections are spread over the workers, wherever the kernel put them.

use std::io::{Read, Write};

use crate::common::*;

/// An instance that switches protocols and sends back every byte.
fn echoing() -> std::net::SocketAddr {
    upstream(|_, mut stream| {
        read_head(&mut stream).expect("a head");
        let switch = "HTTP/1.1 101 X\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n";
        stream.get_mut().write_all(switch.as_bytes()).expect("written");
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|n| n > 0) {
            stream.get_mut().write_all(&byte).expect("echoed");
        }
    })
}

fn four_workers(at: std::net::SocketAddr) -> World {
    let mut config = config();
    config.workers = 4;
    World::of(&one(1, 1, at), config)
}

fn by_worker(world: &World) -> Vec<u64> {
    let name = |worker| format!("segue_worker_connections{{worker=\"{worker}\"}}");
    (0..4).map(|worker| world.sample(&name(worker))).collect()
}

fn tunnel(world: &World) -> Client {
    let mut tunnel = world.client();
    tunnel.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(tunnel.try_receive(false).expect("an answer").status, 101);
    tunnel
}

#[test]
fn of_eight_tunnels_on_four_workers_none_has_more_than_three() {
    let world = four_workers(echoing());
    // By chance alone they would lie so in six of ten rounds.
    for _ in 0..12 {
        let mut tunnels: Vec<_> = (0..8).map(|_| tunnel(&world)).collect();
        let by_worker = by_worker(&world);
        assert!(by_worker.iter().all(|count| *count <= 3), "{by_worker:?}");
        assert_eq!(by_worker.iter().sum::<u64>(), 8);
        assert_eq!(world.sample("segue_connections"), 8);
        for tunnel in &mut tunnels {
            tunnel.send("x");
            tunnel.stream.read_exact(&mut [0]).expect("its echo");
        }
        drop(tunnels);
        eventually("they end", || (world.sample("segue_connections") == 0).then_some(()));
    }
}

#[test]
fn a_connection_that_was_handed_over_is_served_and_counted_once() {
    let world = four_workers(saying("ok"));
    let mut clients = Vec::new();
    while world.sample("segue_handed_over_total") < 3 {
        let mut client = world.client();
        assert_eq!(client.get("/").text(), "ok");
        clients.push(client);
        assert!(clients.len() < 500, "none is handed over");
    }
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(by_worker(&world).iter().sum::<u64>(), clients.len() as u64);
    assert_eq!(world.sample("segue_connections"), clients.len() as u64);
    assert_eq!(world.counted(2 * clients.len() as u64).requests, 2 * clients.len() as u64);
    drop(clients);
    eventually("all are counted off", || {
        (by_worker(&world) == [0; 4] && world.sample("segue_connections") == 0).then_some(())
    });
}
