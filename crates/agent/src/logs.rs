//! An instance's output, for people: its last lines, and what comes after. Reads the files that the
//! shim writes; never writes to them.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use model::{AppName, InstanceId};

use crate::layout::Layout;
use crate::runfolder::{OLDER_OUTPUT, OUTPUT};

/// A longer line is cut.
const LINE_BYTES: usize = 500;
/// Lines that can be asked for at once.
const MOST_LINES: usize = 10_000;
/// A page has at most so many bytes.
const PAGE_BYTES: u64 = 64 * 1024;

/// The last lines of an instance's output, oldest first. Each is cut at 500 bytes, and control
/// characters are written as `\u{1b}`.
///
/// # Errors
/// If the files cannot be read; an instance without output has no lines.
pub fn tail(data: &Path, instance: &InstanceId, lines: usize) -> io::Result<Vec<String>> {
    tail_of(&Layout::new(data).run(instance), lines)
}

/// The same, by the run folder.
pub(crate) fn tail_of(folder: &Path, lines: usize) -> io::Result<Vec<String>> {
    let lines = lines.min(MOST_LINES);
    let (mut bytes, whole) = end_of(&folder.join(OUTPUT), lines)?;
    if whole && count_lines(&bytes) < lines {
        let (mut older, _) = end_of(&folder.join(OLDER_OUTPUT), lines)?;
        older.append(&mut bytes);
        bytes = older;
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    Ok(all[all.len().saturating_sub(lines)..].iter().map(|line| readable(line)).collect())
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Enough of the end of a file to hold so many lines, if they are not much longer than shown; and
/// whether it is all of the file.
fn end_of(path: &Path, lines: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut file = match datadir::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), true)),
        Err(e) => return Err(e),
    };
    let wanted = (lines as u64 + 1) * LINE_BYTES as u64;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(wanted)))?;
    let mut bytes = Vec::new();
    file.take(wanted).read_to_end(&mut bytes)?;
    Ok((bytes, length <= wanted))
}

/// A line as it can be shown on a terminal: nothing in it moves a cursor or sets a title.
fn readable(line: &[u8]) -> String {
    let cut = line.len() > LINE_BYTES;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES)]);
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\t' {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    if cut {
        shown.push('…');
    }
    shown
}

/// A place in an instance's output: which file, as the last 40 bits of its inode number, and how far
/// in it, in 24 bits: a file is rotated long before it is so long. 0 is the beginning.
pub type Place = u64;

const OFFSET_BITS: u32 = 24;

/// The lines that an instance has written since `from`, and the place where they end. A line whose
/// end has not come yet waits for the next call. After a rotation the rest of the older file comes
/// first; what was rotated away twice is lost.
///
/// # Errors
/// If the files cannot be read; an instance without output has no lines.
pub fn page(data: &Path, instance: &InstanceId, from: Place) -> io::Result<(Vec<String>, Place)> {
    let folder = Layout::new(data).run(instance);
    let (output, older) = (folder.join(OUTPUT), folder.join(OLDER_OUTPUT));
    let (Some((file, _)), before) = (look(&output)?, look(&older)?) else {
        return Ok((Vec::new(), from));
    };
    let offset = from & ((1 << OFFSET_BITS) - 1);
    let start = if from >> OFFSET_BITS == file { offset } else { 0 };
    let rotated = before.is_some_and(|(inode, _)| inode == from >> OFFSET_BITS && inode != file);
    let mut bytes = if rotated { read_from(&older, offset)? } else { Vec::new() };
    if bytes.len() as u64 == PAGE_BYTES {
        let (lines, used) = complete_lines(&bytes);
        return Ok((lines, from + used));
    }
    // The line at the end of the older file may go on in the new one.
    let rest = bytes.len() as u64;
    bytes.append(&mut read_from(&output, start)?);
    let (lines, used) = complete_lines(&bytes);
    if used < rest {
        return Ok((lines, from + used));
    }
    Ok((lines, file << OFFSET_BITS | (start + used - rest)))
}

/// The place after all that an instance has written so far.
///
/// # Errors
/// If its output cannot be looked at.
pub fn end(data: &Path, instance: &InstanceId) -> io::Result<Place> {
    let output = Layout::new(data).run(instance).join(OUTPUT);
    Ok(look(&output)?.map_or(0, |(file, length)| file << OFFSET_BITS | length))
}

/// The instances of an app that have left output, oldest first.
///
/// # Errors
/// If the run folders cannot be listed.
pub fn instances(data: &Path, app: &AppName) -> io::Result<Vec<InstanceId>> {
    let entries = std::fs::read_dir(Layout::new(data).runs())?;
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut ids: Vec<InstanceId> = ids.filter(|id: &InstanceId| id.app == *app).collect();
    ids.sort_by_key(|id| id.number);
    Ok(ids)
}

/// The last 40 bits of a file's inode number, and its length; `None` if there is no such file.
fn look(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match std::fs::symlink_metadata(path) {
        Ok(file) => Ok(Some((file.ino() & ((1 << 40) - 1), file.len()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn read_from(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match datadir::open(path) {
        Ok(mut file) => {
            file.seek(SeekFrom::Start(from))?;
            file.take(PAGE_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(bytes),
        Err(e) => Err(e),
    }
}

/// The lines in `bytes` that have an end, and how many bytes they are. What fills a whole page
/// without an end counts as a line.
fn complete_lines(bytes: &[u8]) -> (Vec<String>, u64) {
    let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        None if bytes.len() as u64 >= PAGE_BYTES => bytes.len(),
        None => return (Vec::new(), 0),
    };
    let text = bytes[..end].strip_suffix(b"\n").unwrap_or(&bytes[..end]);
    (text.split(|byte| *byte == b'\n').map(readable).collect(), end as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runfolder::RunFolder;
    use std::fs;

    #[test]
    fn the_last_lines_are_found_across_the_rotation_cut_and_harmless() {
        let folder = tempfile::tempdir().unwrap();
        assert!(tail_of(folder.path(), 5).unwrap().is_empty());
        fs::write(folder.path().join(OLDER_OUTPUT), "one\ntwo\nthr").unwrap();
        fs::write(folder.path().join(OUTPUT), "ee\n\x1b[31mred\u{7}\r\nlast").unwrap();
        let red = "\\u{1b}[31mred\\u{7}";
        assert_eq!(tail_of(folder.path(), 4).unwrap(), ["two", "three", red, "last"]);
        assert_eq!(tail_of(folder.path(), 1).unwrap(), ["last"]);
        fs::write(folder.path().join(OUTPUT), "x".repeat(9_000)).unwrap();
        let long = tail_of(folder.path(), 1).unwrap();
        assert_eq!(long[0].chars().filter(|c| *c == 'x').count(), 500);
    }

    #[test]
    fn pages_go_on_across_a_rotation_and_wait_for_the_end_of_a_line() {
        let data = tempfile::tempdir().unwrap();
        let id: InstanceId = "web-1".parse().unwrap();
        let folder = Layout::new(data.path()).run(&id);
        RunFolder::at(&folder).create().unwrap();
        let write = |text: &str| {
            use std::io::Write;
            let mut options = fs::OpenOptions::new();
            let mut file = options.create(true).append(true).open(folder.join(OUTPUT)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        write("before\n");
        let at = end(data.path(), &id).unwrap();
        write("a\nb");
        let (lines, at) = page(data.path(), &id, at).unwrap();
        assert_eq!(lines, ["a"]);
        write("c\nold");
        let (lines, at) = page(data.path(), &id, at).unwrap();
        assert_eq!(lines, ["bc"]);
        fs::rename(folder.join(OUTPUT), folder.join(OLDER_OUTPUT)).unwrap();
        write(" and\nnew\nno end");
        let (lines, at) = page(data.path(), &id, at).unwrap();
        assert_eq!(lines, ["old and", "new"]);
        write("\n");
        assert_eq!(page(data.path(), &id, at).unwrap().0, ["no end"]);
        assert_eq!(instances(data.path(), &id.app).unwrap(), [id]);
    }
}
