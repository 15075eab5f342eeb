//! A fleet on machines of its own: a server, and hosts whose agents join it, with users on yet another
//! machine.

mod hosts;
mod network;
mod world;

pub use network::enter;
