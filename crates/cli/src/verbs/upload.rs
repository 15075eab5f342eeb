//! Uploads the files of a release that the server does not have.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use model::Digest;
use rustix::fs::{Mode, OFlags};
use wire::{ApiClient, Blob, ClientError, FileEntry, Kind, Manifest};

use crate::failure::STEADY;
use crate::progress::ProgressLine;
use crate::text::size;
use crate::{CommandError, Io};

/// The result of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Uploaded {
    /// The server has all files.
    All,
    /// The content of this file is no longer the listed one.
    Changed(String),
}

/// Uploads the missing contents of `manifest`, whose files lie in `dir`.
pub(super) fn upload(
    client: &ApiClient,
    dir: &Path,
    manifest: &Manifest,
    io: &mut Io<'_>,
    progress: &mut ProgressLine,
) -> Result<Uploaded, CommandError> {
    let files: BTreeMap<Digest, (u64, &str)> = manifest.entries.iter().filter_map(file).collect();
    let act = "upload the release";
    let blobs = files.iter().map(|(digest, (size, _))| Blob { digest: *digest, size: *size });
    let missing = client.missing(blobs.collect()).map_err(|e| CommandError::client(act, &e))?;
    if missing.is_empty() {
        return Ok(Uploaded::All);
    }
    let sizes = missing.iter().filter_map(|digest| files.get(digest)).map(|(size, _)| size);
    let all = size(sizes.sum());
    let text = format!("uploading {} of {} files, {all}", missing.len(), files.len());
    progress.doing(io, &text);
    for digest in missing {
        let Some((size, path)) = files.get(&digest) else { continue };
        let act = format!("upload {path}");
        let content = match open(&dir.join(path)) {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(Uploaded::Changed((*path).to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Uploaded::Changed((*path).to_owned()));
            }
            Err(error) => return Err(CommandError::new(act, &error).hint(STEADY)),
        };
        match client.put_blob(Blob { digest, size: *size }, content) {
            Ok(()) => {}
            Err(ClientError::Changed) => return Ok(Uploaded::Changed((*path).to_owned())),
            Err(error) => return Err(CommandError::client(act, &error)),
        }
    }
    Ok(Uploaded::All)
}

/// Opens the file if it still is a regular file. Does not block if a pipe has taken its place.
fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    Ok(file.metadata()?.is_file().then_some(file))
}

fn file(entry: &FileEntry) -> Option<(Digest, (u64, &str))> {
    match &entry.kind {
        Kind::File { digest, size, executable: _ } => Some((*digest, (*size, &entry.path))),
        Kind::Symlink { .. } | Kind::Dir => None,
    }
}
