//! `segue demo`: a demonstration on this machine, with a real server under load. It shows every strategy, a
//! broken release, a rollback, and the counts. It stops and deletes only what it has created.

mod apps;
mod browser;
mod load;
mod new_users;
mod report;
mod run;
mod server;
mod timeline;

pub(crate) use run::run;
