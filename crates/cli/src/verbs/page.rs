//! A page for users: an HTML file on this machine, which is sent as text.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use model::Page;

use crate::CommandError;

/// Reads the page at `path`. Reads no more of it than is needed to find out that it is too long.
pub(super) fn read(path: &Path) -> Result<String, CommandError> {
    let act = format!("read the page {}", path.display());
    let file = File::open(path).map_err(|error| CommandError::new(&*act, &error))?;
    let mut html = String::new();
    let read = file.take(Page::MOST_BYTES as u64 + 1).read_to_string(&mut html);
    read.map_err(|error| CommandError::new(&*act, &error))?;
    if html.len() > Page::MOST_BYTES {
        let cause = format!("it has more than {} KiB", Page::MOST_BYTES / 1024);
        return Err(
            CommandError::because(act, cause).hint("link to images and styles of another host")
        );
    }
    Ok(html)
}
