//! The instance's output. Both streams share one pipe, so that lines stay in order, and go to a file of
//! bounded size. A full disk never makes the instance wait: the output that does not fit is dropped and
//! counted.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::runfolder::{OLDER_OUTPUT, OUTPUT};

/// The size limit of an output file, in bytes. Two files are kept: the current one and the previous one.
const FILE_BYTES: u64 = 8 << 20;
/// The number of bytes that the kernel buffers while the disk is slow.
const PIPE_BYTES: usize = 1 << 20;

/// The reading end of the pipe, and the output file.
#[derive(Debug)]
pub(super) struct Output {
    pipe: PipeReader,
    file: Option<File>,
    bytes: u64,
    /// The number of bytes dropped since the last line that reported them.
    unreported: u64,
    dropped: Arc<AtomicU64>,
}

impl Output {
    /// Opens the output of an instance in the current folder. Returns the output and the writing end of the
    /// pipe.
    pub fn open() -> io::Result<(Self, PipeWriter)> {
        let (pipe, theirs) = io::pipe()?;
        // This is optional: if it fails, the pipe has its default size.
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
        let file = append()?;
        let bytes = file.metadata()?.len();
        let dropped = Arc::default();
        Ok((Self { pipe, file: Some(file), bytes, unreported: 0, dropped }, theirs))
    }

    /// Returns the counter of bytes that were lost because the disk was full.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Copies output to the file until every process with the writing end has closed it.
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
        self.report_missing();
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.bytes >= FILE_BYTES {
            self.rotate();
        }
        self.report_missing();
        self.write(bytes);
    }

    /// Starts a new file. If that fails, the next write tries to open it again.
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
                    self.unreported += bytes.len() as u64;
                    self.dropped.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    /// Once there is space again, writes a line about the bytes that are missing before it.
    fn report_missing(&mut self) {
        let missing = std::mem::take(&mut self.unreported);
        if missing > 0 {
            let line = format!("\nsegue: the disk was full, {missing} bytes are missing here\n");
            let written = self.file.as_mut().is_some_and(|f| f.write_all(line.as_bytes()).is_ok());
            if !written {
                self.unreported = missing;
            }
        }
    }
}

fn append() -> io::Result<File> {
    datadir::append(Path::new(OUTPUT))
}
