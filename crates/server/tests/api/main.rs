//! The API from outside: who is let in, what is refused and how, and the whole way over a socket.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod world;
