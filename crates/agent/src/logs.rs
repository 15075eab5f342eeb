//! An instance's output, for people: its last lines, and what comes after. Reads the files that the
//! shim writes; never writes to them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::InstanceId;

use crate::layout::Layout;
use crate::runfolder::{OLDER_OUTPUT, OUTPUT, RunFolder};

/// A longer line is cut.
const LINE_BYTES: usize = 500;
/// Lines that can be asked for at once.
const MOST_LINES: usize = 10_000;
/// Between looks at a file that does not grow.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

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
    let file = open(&folder.join(OUTPUT))?;
    let bytes = end_of(folder, file.as_ref(), lines)?;
    Ok(last_lines(bytes.strip_suffix(b"\n").unwrap_or(&bytes), lines))
}

fn last_lines(text: &[u8], lines: usize) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let all: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    all[all.len().saturating_sub(lines.min(MOST_LINES))..].iter().map(|l| readable(l)).collect()
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Enough of the end of the output to hold so many lines, if they are not much longer than shown:
/// of this file, and if that is too short of the one before it too. The file is left at its end.
fn end_of(folder: &Path, file: Option<&File>, lines: usize) -> io::Result<Vec<u8>> {
    let wanted = (lines.min(MOST_LINES) as u64 + 1) * LINE_BYTES as u64;
    let read = |mut file: &File| -> io::Result<(Vec<u8>, bool)> {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(wanted)))?;
        let mut bytes = Vec::new();
        file.take(wanted).read_to_end(&mut bytes)?;
        Ok((bytes, length <= wanted))
    };
    let (mut bytes, whole) = file.map_or(Ok((Vec::new(), true)), read)?;
    let found = bytes.iter().filter(|byte| **byte == b'\n').count();
    if whole
        && found < lines
        && let Some(older) = open(&folder.join(OLDER_OUTPUT))?
    {
        let (mut older, _) = read(&older)?;
        older.append(&mut bytes);
        bytes = older;
    }
    Ok(bytes)
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

/// Follows an instance's output, across rotation, until the instance has ended.
#[derive(Debug)]
pub struct Follow {
    folder: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
}

impl Follow {
    /// The last lines so far, as from [`tail`], and what follows them: no line is missed and none
    /// comes twice.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub fn open(
        data: &Path,
        instance: &InstanceId,
        lines: usize,
    ) -> io::Result<(Vec<String>, Self)> {
        let folder = Layout::new(data).run(instance);
        let file = open(&folder.join(OUTPUT))?;
        let mut bytes = end_of(&folder, file.as_ref(), lines)?;
        // A line whose end has not come yet comes as a whole later.
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = bytes.split_off(complete);
        let before = last_lines(bytes.strip_suffix(b"\n").unwrap_or(&bytes), lines);
        Ok((before, Self { folder, file, rest }))
    }

    /// The next lines, as soon as there are some; `None` once the instance has ended and all of its
    /// output was given. May be dropped while it waits.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn next(&mut self) -> io::Result<Option<Vec<String>>> {
        loop {
            // Asked before reading: what was written before the end is read below.
            let ended = self.has_ended();
            let lines = self.read()?;
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
            if ended {
                let rest = std::mem::take(&mut self.rest);
                return Ok((!rest.is_empty()).then(|| vec![readable(&rest)]));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn has_ended(&self) -> bool {
        let folder = RunFolder::at(&self.folder);
        !self.folder.exists() || folder.exit().is_ok_and(|exit| exit.is_some())
    }

    /// The lines that are complete by now.
    fn read(&mut self) -> io::Result<Vec<String>> {
        let mut buffer = [0; 64 * 1024];
        if self.file.is_none() {
            self.file = File::open(self.folder.join(OUTPUT)).ok();
        }
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        let length = file.read(&mut buffer)?;
        if length == 0 && was_rotated(file, &self.folder.join(OUTPUT)) {
            // One more read after the look: the last words before the rotation.
            let last = file.read(&mut buffer)?;
            if last == 0 {
                self.file = None;
            }
            return Ok(self.split(&buffer[..last]));
        }
        Ok(self.split(&buffer[..length]))
    }

    fn split(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            lines.push(readable(&self.rest[..end]));
            self.rest.drain(..=end);
        }
        // A line without an end is not collected for ever.
        if self.rest.len() > 4 * LINE_BYTES {
            lines.push(readable(&self.rest));
            self.rest.clear();
        }
        lines
    }
}

/// Whether the path leads to another file by now.
fn was_rotated(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(current)) => ours.ino() != current.ino(),
        (_, Err(_)) | (Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[tokio::test]
    async fn following_goes_on_across_a_rotation_until_the_end() {
        let data = tempfile::tempdir().unwrap();
        let id: InstanceId = "web-1".parse().unwrap();
        let folder = Layout::new(data.path()).run(&id);
        RunFolder::at(&folder).create().unwrap();
        fs::write(folder.join(OUTPUT), "before\n[").unwrap();
        let (before, mut follow) = Follow::open(data.path(), &id, 5).unwrap();
        assert_eq!(before, ["before"]);
        let write = |text: &str| {
            use std::io::Write;
            let mut options = fs::OpenOptions::new();
            let mut file = options.create(true).append(true).open(folder.join(OUTPUT)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        write("a\nb");
        assert_eq!(follow.next().await.unwrap().unwrap(), ["[a"]);
        write("c\n");
        assert_eq!(follow.next().await.unwrap().unwrap(), ["bc"]);
        write("old\n");
        fs::rename(folder.join(OUTPUT), folder.join(OLDER_OUTPUT)).unwrap();
        write("new\nno end");
        assert_eq!(follow.next().await.unwrap().unwrap(), ["old"]);
        assert_eq!(follow.next().await.unwrap().unwrap(), ["new"]);
        RunFolder::at(&folder).record_exit(model::Exit::Code(0)).unwrap();
        assert_eq!(follow.next().await.unwrap().unwrap(), ["no end"]);
        assert_eq!(follow.next().await.unwrap(), None);
    }
}
