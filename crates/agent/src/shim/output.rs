//! The instance's output: one pipe for both streams, so that lines stay in order, into a file of
//! bounded size. Never makes the instance wait for a full disk: what does not fit is dropped and
//! counted.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::runfolder::{OLDER_OUTPUT, OUTPUT};

/// The file is kept twice: the current one and the one before it.
const FILE_BYTES: u64 = 8 << 20;
/// What the kernel holds while the disk is slow.
const PIPE_BYTES: usize = 1 << 20;

/// The reading end of the pipe, and the file.
#[derive(Debug)]
pub(super) struct Output {
    pipe: PipeReader,
    file: Option<File>,
    bytes: u64,
    /// Dropped since the last line that said so.
    unsaid: u64,
    dropped: Arc<AtomicU64>,
}

impl Output {
    /// The output of an instance in the current folder, and the end of the pipe that it gets.
    pub fn open() -> io::Result<(Self, PipeWriter)> {
        let (pipe, theirs) = io::pipe()?;
        // A matter of comfort: without it the pipe has its usual size.
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
        let file = append()?;
        let bytes = file.metadata()?.len();
        let dropped = Arc::default();
        Ok((Self { pipe, file: Some(file), bytes, unsaid: 0, dropped }, theirs))
    }

    /// Counts the bytes that were lost to a full disk.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Until the last process with the other end has closed it.
    pub fn run(mut self) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.keep(&buffer[..length]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.say_what_is_missing();
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.bytes >= FILE_BYTES {
            self.rotate();
        }
        self.say_what_is_missing();
        self.write(bytes);
    }

    /// On failure the next write tries to open the file again.
    fn rotate(&mut self) {
        self.file = None;
        self.bytes = 0;
        let _ = fs::rename(OUTPUT, OLDER_OUTPUT);
    }

    fn write(&mut self, mut bytes: &[u8]) {
        if self.file.is_none() {
            self.file = append().ok();
        }
        while !bytes.is_empty() {
            let written = self.file.as_mut().map_or(Ok(0), |file| file.write(bytes));
            match written {
                Ok(length @ 1..) => {
                    self.bytes += length as u64;
                    bytes = &bytes[length..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    self.unsaid += bytes.len() as u64;
                    self.dropped.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    /// Once there is room again, a line in the file says what is missing before it.
    fn say_what_is_missing(&mut self) {
        let missing = std::mem::take(&mut self.unsaid);
        if missing > 0 {
            let line = format!("\nsegue: the disk was full, {missing} bytes are missing here\n");
            let written = self.file.as_mut().is_some_and(|f| f.write_all(line.as_bytes()).is_ok());
            if !written {
                self.unsaid = missing;
            }
        }
    }
}

fn append() -> io::Result<File> {
    datadir::append(Path::new(OUTPUT))
}
