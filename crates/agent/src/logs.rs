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
    let mut file = match File::open(path) {
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

/// Follows an instance's output, across rotation, until the instance has ended.
#[derive(Debug)]
pub struct Follow {
    folder: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
}

impl Follow {
    /// What an instance writes from now on. For what it wrote before, ask [`tail`] first: a line
    /// written in between may be missed, none comes twice.
    pub fn from_now(data: &Path, instance: &InstanceId) -> io::Result<Self> {
        let folder = Layout::new(data).run(instance);
        let file = match File::open(folder.join(OUTPUT)) {
            Ok(mut file) => {
                file.seek(SeekFrom::End(0))?;
                Some(file)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        Ok(Self { folder, file, rest: Vec::new() })
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
        fs::write(folder.join(OUTPUT), "before\n").unwrap();
        let mut follow = Follow::from_now(data.path(), &id).unwrap();
        let write = |text: &str| {
            use std::io::Write;
            let mut options = fs::OpenOptions::new();
            let mut file = options.create(true).append(true).open(folder.join(OUTPUT)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        write("a\nb");
        assert_eq!(follow.next().await.unwrap().unwrap(), ["a"]);
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
