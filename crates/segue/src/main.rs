//! The program: puts the parts together and does nothing itself.
fn main() {}
