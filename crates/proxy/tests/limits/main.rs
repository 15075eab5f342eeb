//! Limits of time and number. Time limits have their real values, to the millisecond: the time stands
//! still until a story moves it.
#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod crowding;
mod holding;
mod instances;
mod out_of_service;
mod overload;
mod resting;
mod scarce;

use common::Client;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A client that has just sent this.
fn sending(world: &common::World, request: &str) -> Client {
    let mut client = world.client();
    client.send(request);
    client
}
