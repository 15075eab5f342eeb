//! `segue demo`: the whole of it on this machine, against a real server, under load: every strategy,
//! a broken release, a rollback, and the counts. Stops and deletes only what it made.

mod apps;
mod browser;
mod load;
mod new_users;
mod report;
mod run;
mod server;
mod timeline;

pub(crate) use run::run;
