//! A fleet on machines of its own: a server, hosts and proxies that join it, with users on yet another machine.

mod floating;
mod hosts;
mod members;
mod network;
mod proxies;
mod world;

pub use network::enter;
