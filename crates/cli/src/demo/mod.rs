//! `segue demo`: the whole of it on this machine, against a real server, under load: two releases,
//! a broken one, a rollback, and the counts. Stops and deletes only what it made.

mod apps;
mod load;
mod report;
mod run;
mod server;
mod timeline;

pub(crate) use run::run;
