//! The project's own tasks: test, sim, bench, tidy, deps.
fn main() {}
