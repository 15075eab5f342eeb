//! An instance's output: its last lines, and the lines that follow. Reads the files that the shim writes;
//! never writes to them.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use model::{AppName, InstanceId};
use wire::{LogLine, LogPage, LogRequest, LogStart};

use crate::layout::InstanceLayout;
use crate::runfolder::{OLDER_OUTPUT, OUTPUT};

/// The longest line in an instance's last words, in bytes. A longer line is cut in its middle: the failure is
/// at its start, and often the cause is at its end.
const LINE_BYTES: usize = 500;
const START_BYTES: usize = 150;
/// The largest number of lines of one request.
const MOST_LINES: usize = 10_000;
/// The largest number of bytes of one instance's output in a page.
const PAGE_BYTES: usize = 64 * 1024;
/// The number of bytes of each instance's output that fit into any page, so that no instance is left out.
const LEAST_BYTES: usize = 4 * 1024;
/// The number of bytes at the end of the output that are searched for an instance's last words.
const WORDS_BYTES: usize = 64 * 1024;

/// Answers a request for output from the data folder `data`. All lines together have at most `most` bytes, of
/// which each instance gets an equal part; the part is never less than 4 KiB. What does not fit is in the next
/// page if the request starts after a page, and left out if it asks for the last lines.
///
/// # Errors
/// If the output cannot be read. An instance without output has no lines.
pub fn answer(data: &Path, request: &LogRequest, most: usize) -> io::Result<LogPage> {
    let LogRequest { app, instance, start } = request;
    let of = match instance {
        Some(instance) => vec![instance.clone()],
        None => instances(data, app)?,
    };
    let most = (most / of.len().max(1)).max(LEAST_BYTES);
    let mut page = LogPage::default();
    for id in of {
        let (lines, next) = match start {
            LogStart::Last(count) => {
                // The position is read before the lines: a line that is written in between is returned twice,
                // and none is lost.
                let position = end(data, &id)?;
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                (tail(data, &id, count, most)?, position)
            }
            LogStart::After(cursor) => {
                let position = cursor.0.get(&id).copied().unwrap_or(0);
                lines_after(data, &id, position, most.min(PAGE_BYTES))?
            }
        };
        page.lines.extend(lines);
        page.next.0.insert(id, next);
    }
    Ok(page)
}

/// Returns the last lines of an instance's output, oldest first, whole and as they were written. They have at
/// most `most` bytes. Only if the last line alone is longer, the result is the end of that line.
fn tail(data: &Path, instance: &InstanceId, lines: usize, most: usize) -> io::Result<Vec<LogLine>> {
    let bytes = last_lines(&InstanceLayout::new(data).run(instance), lines, most)?;
    Ok(split(&bytes).map(|line| log_line(instance, line)).collect())
}

/// Returns the last words of the instance with this run folder. The middle of a line longer than 500 bytes is
/// left out, and control characters are written as `\u{1b}`, since the lines become parts of sentences.
pub(crate) fn last_words(folder: &Path, lines: usize) -> io::Result<Vec<String>> {
    let bytes = last_lines(folder, lines, WORDS_BYTES)?;
    Ok(split(&bytes).map(readable).collect())
}

fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let lines = (!bytes.is_empty()).then(|| text.split(|byte| *byte == b'\n'));
    lines.into_iter().flatten()
}

fn log_line(instance: &InstanceId, line: &[u8]) -> LogLine {
    LogLine::new(instance.clone(), line.to_vec())
}

/// Returns the last lines of both files.
fn last_lines(folder: &Path, lines: usize, most: usize) -> io::Result<Vec<u8>> {
    let lines = lines.min(MOST_LINES);
    let mut end = end_of(&folder.join(OUTPUT), lines, most)?;
    if end.whole && line_ends(&end.bytes) < lines && end.bytes.len() < most {
        let older = end_of(&folder.join(OLDER_OUTPUT), lines, most - end.bytes.len())?;
        end = End { bytes: [older.bytes, end.bytes].concat(), whole: older.whole };
    }
    let End { mut bytes, whole } = end;
    let inside = bytes.len() - usize::from(bytes.ends_with(b"\n"));
    let mut ends = (0..inside).rev().filter(|at| bytes[*at] == b'\n');
    let start = match lines {
        0 => Some(bytes.len()),
        // The first wanted line lies between this line end and the previous one.
        lines => ends.nth(lines - 1).map(|at| at + 1),
    };
    // If there are fewer lines than wanted, the first may have lost its beginning.
    let first_end = || bytes[..inside].iter().position(|byte| *byte == b'\n').map(|at| at + 1);
    let start = start.or_else(|| if whole { None } else { first_end() });
    Ok(bytes.split_off(start.unwrap_or(0)))
}

/// Counts the line ends.
fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// The end of a file, and whether it is the whole file.
struct End {
    bytes: Vec<u8>,
    whole: bool,
}

/// Reads the end of a file: enough to contain this number of lines, but at most `most` bytes.
fn end_of(path: &Path, lines: usize, most: usize) -> io::Result<End> {
    let mut file = match datadir::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Ok(End { bytes: Vec::new(), whole: true });
        }
        Err(e) => return Err(e),
    };
    let length = file.metadata()?.len();
    let mut wanted = PAGE_BYTES.min(most) as u64;
    loop {
        let start = length.saturating_sub(wanted);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&mut file).take(length - start).read_to_end(&mut bytes)?;
        // One line end more than wanted lines: the end of the line before them.
        if start == 0 || wanted >= most as u64 || line_ends(&bytes) > lines {
            return Ok(End { bytes, whole: start == 0 });
        }
        wanted = (wanted * 4).min(most as u64);
    }
}

/// Returns the line in a form that is safe on a terminal: nothing in it moves the cursor or sets a title.
fn readable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = match line.len() {
        ..=LINE_BYTES => String::from_utf8_lossy(line),
        long => {
            let start = String::from_utf8_lossy(&line[..START_BYTES]);
            let end = String::from_utf8_lossy(&line[long - (LINE_BYTES - START_BYTES)..]);
            format!("{start} … {end}").into()
        }
    };
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\t' {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A position in an instance's output: the last 40 bits of the file's inode number, and the position in the
/// file in 24 bits. A file is rotated long before it needs more bits. 0 is the beginning.
type LogOffset = u64;

const OFFSET_BITS: u32 = 24;

/// Returns the lines that an instance has written since `from`, and the position after them. A line without
/// an end is returned by a later call, unless it has `most` bytes: then it is returned in parts. After a
/// rotation the rest of the older file comes first. A file that was rotated away twice is lost.
fn lines_after(
    data: &Path,
    instance: &InstanceId,
    from: LogOffset,
    most: usize,
) -> io::Result<(Vec<LogLine>, LogOffset)> {
    let folder = InstanceLayout::new(data).run(instance);
    let (output, older) = (folder.join(OUTPUT), folder.join(OLDER_OUTPUT));
    let (Some((file, _)), before) = (look(&output)?, look(&older)?) else {
        return Ok((Vec::new(), from));
    };
    let offset = from & ((1 << OFFSET_BITS) - 1);
    let start = if from >> OFFSET_BITS == file { offset } else { 0 };
    let rotated = before.is_some_and(|(inode, _)| inode == from >> OFFSET_BITS && inode != file);
    let mut bytes = if rotated { read_from(&older, offset, most)? } else { Vec::new() };
    if bytes.len() == most {
        let (lines, used) = complete_lines(instance, &bytes, most);
        return Ok((lines, from + used));
    }
    // The last line of the older file may continue in the new one.
    let rest = bytes.len() as u64;
    let room = most - bytes.len();
    bytes.append(&mut read_from(&output, start, room)?);
    let (lines, used) = complete_lines(instance, &bytes, most);
    if used < rest {
        return Ok((lines, from + used));
    }
    Ok((lines, file << OFFSET_BITS | (start + used - rest)))
}

/// Returns the position after all that an instance has written so far.
fn end(data: &Path, instance: &InstanceId) -> io::Result<LogOffset> {
    let output = InstanceLayout::new(data).run(instance).join(OUTPUT);
    Ok(look(&output)?.map_or(0, |(file, length)| file << OFFSET_BITS | length))
}

/// Returns the instances of an app that have left output, oldest first.
fn instances(data: &Path, app: &AppName) -> io::Result<Vec<InstanceId>> {
    let entries = std::fs::read_dir(InstanceLayout::new(data).runs())?;
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut ids: Vec<InstanceId> = ids.filter(|id: &InstanceId| id.app == *app).collect();
    ids.sort_by_key(|id| id.number);
    Ok(ids)
}

/// Returns the last 40 bits of a file's inode number, and the file's length; `None` if there is no such file.
fn look(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match std::fs::symlink_metadata(path) {
        Ok(file) => Ok(Some((file.ino() & ((1 << 40) - 1), file.len()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn read_from(path: &Path, from: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match datadir::open(path) {
        Ok(mut file) => {
            file.seek(SeekFrom::Start(from))?;
            file.take(most as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(bytes),
        Err(e) => Err(e),
    }
}

/// Returns the lines in `bytes` that have an end, and their length in bytes. If there are `most` bytes without
/// a line end, they are returned as a part of a line.
fn complete_lines(instance: &InstanceId, bytes: &[u8], most: usize) -> (Vec<LogLine>, u64) {
    match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => {
            let lines = split(&bytes[..=end]).map(|line| log_line(instance, line)).collect();
            (lines, end as u64 + 1)
        }
        None if bytes.len() >= most => {
            // A character must not be cut in two.
            let end = match std::str::from_utf8(bytes) {
                Err(e) if e.error_len().is_none() => e.valid_up_to(),
                Ok(_) | Err(_) => bytes.len(),
            };
            let part = LogLine { goes_on: true, ..log_line(instance, &bytes[..end]) };
            (vec![part], end as u64)
        }
        None => (Vec::new(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runfolder::RunFolder;
    use std::fs;

    #[test]
    fn the_last_lines_are_found_across_the_rotation_cut_and_harmless() {
        let folder = tempfile::tempdir().unwrap();
        assert!(last_words(folder.path(), 5).unwrap().is_empty());
        fs::write(folder.path().join(OLDER_OUTPUT), "one\ntwo\nthr").unwrap();
        fs::write(folder.path().join(OUTPUT), "ee\n\x1b[31mred\u{7}\r\nlast").unwrap();
        let red = "\\u{1b}[31mred\\u{7}";
        assert_eq!(last_words(folder.path(), 4).unwrap(), ["two", "three", red, "last"]);
        assert_eq!(last_words(folder.path(), 1).unwrap(), ["last"]);
        fs::write(folder.path().join(OUTPUT), "x".repeat(9_000)).unwrap();
        let long = last_words(folder.path(), 1).unwrap();
        assert_eq!(long, [format!("thr{} … {}", "x".repeat(147), "x".repeat(350))]);
        let cause = format!("failed: {} no such table", "context ".repeat(90));
        fs::write(folder.path().join(OUTPUT), format!("\n{cause}")).unwrap();
        let [words] = &last_words(folder.path(), 1).unwrap()[..] else { panic!("one line") };
        assert!(
            words.starts_with("failed: context") && words.ends_with(" no such table"),
            "{words}"
        );
    }

    #[test]
    fn whole_lines_are_given_however_long_within_a_bound() {
        let data = tempfile::tempdir().unwrap();
        let id: InstanceId = "web-1".parse().unwrap();
        let folder = InstanceLayout::new(data.path()).run(&id);
        RunFolder::at(&folder).create().unwrap();
        let long = "é".repeat(100_000);
        fs::write(folder.join(OLDER_OUTPUT), "zero\none\n").unwrap();
        fs::write(folder.join(OUTPUT), format!("\u{1b}[1m{long}\r\nlast\n")).unwrap();
        let tail = |lines, most| {
            let lines = super::tail(data.path(), &id, lines, most).unwrap();
            lines.into_iter().map(|line| line.text).collect::<Vec<_>>()
        };
        let whole = format!("\u{1b}[1m{long}\r");
        assert_eq!(tail(9, 1 << 20), ["zero", "one", &whole, "last"]);
        assert_eq!(tail(3, 1 << 20), ["one", &whole, "last"]);
        assert_eq!(tail(1, 1 << 20), ["last"]);
        assert_eq!(tail(0, 1 << 20), [""; 0]);
        assert_eq!(tail(9, 100_000), ["last"], "of what does not fit, no part is given");
        // A follower gets the line in parts.
        let (mut text, mut place, mut parts) = (String::new(), 0, 0);
        while !text.ends_with("last") {
            let (lines, next) = lines_after(data.path(), &id, place, PAGE_BYTES).unwrap();
            assert_ne!(next, place);
            for line in lines {
                parts += u32::from(line.goes_on);
                text += &line.text;
                text += if line.goes_on { "" } else { "\n" };
            }
            text.truncate(text.trim_end().len());
            place = next;
        }
        assert!(parts >= 3 && text.contains(&long) && !text.contains('\u{fffd}'), "{parts}");
    }

    #[test]
    fn pages_go_on_across_a_rotation_and_wait_for_the_end_of_a_line() {
        let data = tempfile::tempdir().unwrap();
        let id: InstanceId = "web-1".parse().unwrap();
        let folder = InstanceLayout::new(data.path()).run(&id);
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
        let page = |at| {
            let (lines, at) = lines_after(data.path(), &id, at, PAGE_BYTES).unwrap();
            (lines.into_iter().map(|line| line.text).collect::<Vec<_>>(), at)
        };
        let (lines, at) = page(at);
        assert_eq!(lines, ["a"]);
        write("c\nold");
        let (lines, at) = page(at);
        assert_eq!(lines, ["bc"]);
        fs::rename(folder.join(OUTPUT), folder.join(OLDER_OUTPUT)).unwrap();
        write(" and\nnew\nno end");
        let (lines, at) = page(at);
        assert_eq!(lines, ["old and", "new"]);
        write("\n");
        assert_eq!(page(at).0, ["no end"]);
        // Bytes that are not UTF-8 are kept unchanged: a stray byte, and a character cut off by the end of
        // the line.
        fs::write(folder.join(OUTPUT), b"a\xffb\ncut \xc3\n").unwrap();
        let bytes: Vec<Vec<u8>> =
            tail(data.path(), &id, 2, 1 << 20).unwrap().iter().map(|l| l.bytes().into()).collect();
        assert_eq!(bytes, [&b"a\xffb"[..], b"cut \xc3"]);
        assert_eq!(instances(data.path(), &id.app).unwrap(), [id]);
    }

    #[test]
    fn a_page_is_bounded_and_leaves_no_instance_out() {
        let data = tempfile::tempdir().unwrap();
        let line = format!("{}\n", "x".repeat(99));
        let ids: Vec<InstanceId> =
            (1..=40).map(|number| format!("web-{number}").parse().unwrap()).collect();
        for id in &ids {
            let folder = InstanceLayout::new(data.path()).run(id);
            RunFolder::at(&folder).create().unwrap();
            fs::write(folder.join(OUTPUT), line.repeat(1_000)).unwrap();
        }
        let app = ids[0].app.clone();
        let page = |instance: Option<&InstanceId>, start, most| {
            let request = LogRequest { app: app.clone(), instance: instance.cloned(), start };
            answer(data.path(), &request, most).unwrap()
        };
        let size = |page: &LogPage| -> usize {
            page.lines.iter().map(|line| line.bytes().len() + 1).sum()
        };
        for most in [400_000_usize, 1] {
            let bound = most.max(ids.len() * LEAST_BYTES);
            let mut after = LogPage::default();
            // From the beginning to the end, page by page.
            let mut lines = 0;
            loop {
                after = page(None, LogStart::After(after.next), most);
                if after.lines.is_empty() {
                    break;
                }
                assert!(size(&after) <= bound, "{} bytes", size(&after));
                assert!(ids.iter().all(|id| after.lines.iter().any(|line| line.instance == *id)));
                lines += after.lines.len();
            }
            assert_eq!(lines, 40_000);
            let last = page(None, LogStart::Last(2_000), most);
            assert!(size(&last) <= bound && last.next == after.next, "{} bytes", size(&last));
            assert!(ids.iter().all(|id| last.lines.iter().any(|line| line.instance == *id)));
        }
        let one = page(Some(&ids[6]), LogStart::Last(2), 1 << 20);
        assert!(one.lines.len() == 2 && one.lines.iter().all(|line| line.instance == ids[6]));
    }
}
