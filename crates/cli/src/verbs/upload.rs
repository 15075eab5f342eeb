//! Sends the files of a release that the server does not have.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use model::Digest;
use wire::{Blob, Client, Entry, Kind, Manifest};

use crate::progress::Progress;
use crate::text::size;
use crate::{Failure, Io};

/// Uploads what is missing of `manifest`, whose files lie in `dir`.
pub(super) fn upload(
    client: &Client,
    dir: &Path,
    manifest: &Manifest,
    io: &mut Io<'_>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let files: BTreeMap<Digest, (u64, &str)> = manifest.entries.iter().filter_map(file).collect();
    let act = "upload the release";
    let blobs = files.iter().map(|(digest, (size, _))| Blob { digest: *digest, size: *size });
    let missing = client.missing(blobs.collect()).map_err(|e| Failure::client(act, &e))?;
    if missing.is_empty() {
        return Ok(());
    }
    let sizes = missing.iter().filter_map(|digest| files.get(digest)).map(|(size, _)| size);
    let all = size(sizes.sum());
    let text = format!("uploading {} of {} files, {all}", missing.len(), files.len());
    progress.doing(io, &text);
    for digest in missing {
        let Some((size, path)) = files.get(&digest) else { continue };
        let act = format!("upload {path}");
        let content = File::open(dir.join(path)).map_err(|e| Failure::new(&*act, &e))?;
        let sent = client.put_blob(Blob { digest, size: *size }, content);
        sent.map_err(|error| Failure::client(&*act, &error))?;
    }
    Ok(())
}

fn file(entry: &Entry) -> Option<(Digest, (u64, &str))> {
    match &entry.kind {
        Kind::File { digest, size, executable: _ } => Some((*digest, (*size, &entry.path))),
        Kind::Symlink { .. } | Kind::Dir => None,
    }
}
