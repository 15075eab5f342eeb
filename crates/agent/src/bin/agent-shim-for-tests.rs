//! The hidden verbs alone, for this crate's tests. Not shipped.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "__shim", folder] => agent::shim::main(Path::new(folder)),
        [_, "__exec", folder] => agent::shim::exec(Path::new(folder)),
        _ => ExitCode::from(2),
    }
}
