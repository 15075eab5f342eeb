//! One probe by a command. The command runs as the app's user in the release's folder with the instance's
//! environment. The instance is healthy if the command exits with 0. A separate process
//! (`shim::probe_command`) kills the command with its whole process tree when its time is up, or when the
//! agent no longer waits for it.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use model::{Exit, Launch, Millis};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::context::Context;
use crate::disk::on_disk;
use crate::probe_history::ProbeResult;
use crate::protocol::{CommandOutcome, StartOrder};
use crate::start;

/// The time that the process which runs the command has, beyond the command's own limit.
const BEYOND: Duration = Duration::from_secs(10);
/// The number of bytes at the end of the command's output that are kept.
const TAIL_BYTES: usize = 1024;
/// The largest number of characters of the last line that are shown.
const SHOWN_CHARS: usize = 200;

/// The command probe of one instance.
pub(crate) struct CommandProbe {
    context: Arc<Context>,
    launch: Launch,
    command: Vec<String>,
    timeout: Millis,
    /// The order, created once: neither the files nor the values of a release change.
    order: OnceCell<StartOrder>,
}

impl CommandProbe {
    pub fn new(
        context: &Arc<Context>,
        launch: &Launch,
        command: &[String],
        timeout: Millis,
    ) -> Self {
        Self {
            context: Arc::clone(context),
            launch: launch.clone(),
            command: command.to_vec(),
            timeout,
            order: OnceCell::new(),
        }
    }

    /// Runs the command once.
    pub async fn run(&self) -> ProbeResult {
        let name = self.command.first().map_or("", String::as_str);
        let timeout = self.timeout;
        let order = match self.order.get_or_try_init(|| self.prepare()).await {
            Ok(order) => order,
            Err(why) => return ProbeResult::Bad(format!("`{name}` cannot be run: {why}")),
        };
        let limit = timeout.to_duration() + BEYOND;
        let ran = tokio::time::timeout(limit, self.spawn(order)).await;
        let (probed, output) = match ran {
            Ok(Ok(ran)) => ran,
            Ok(Err(e)) => return ProbeResult::Bad(format!("`{name}` cannot be run: {e}")),
            Err(_) => (CommandOutcome::TookTooLong, String::new()),
        };
        match probed {
            CommandOutcome::Ended(Exit::Code(0)) => ProbeResult::Good,
            CommandOutcome::Ended(exit) if output.is_empty() => {
                ProbeResult::Bad(format!("`{name}` {exit}"))
            }
            CommandOutcome::Ended(exit) => ProbeResult::Bad(format!("`{name}` {exit}: {output}")),
            CommandOutcome::TookTooLong => {
                ProbeResult::Silent(format!("`{name}` did not end within {timeout}"))
            }
            CommandOutcome::Refused(why) => {
                ProbeResult::Bad(format!("`{name}` cannot be run: {why}"))
            }
        }
    }

    async fn prepare(&self) -> Result<StartOrder, String> {
        let (context, launch) = (Arc::clone(&self.context), self.launch.clone());
        let (command, timeout) = (self.command.clone(), self.timeout);
        let made = on_disk(move || start::order(&context, &launch)).await;
        let order = made.ok_or("see the server's log")??;
        Ok(StartOrder { command, timeout_ms: Some(timeout.0), ..order })
    }

    async fn spawn(&self, order: &StartOrder) -> io::Result<(CommandOutcome, String)> {
        let mut child = Command::new(&self.context.config.program)
            .arg("__exec")
            .arg(self.context.layout.run(&self.launch.id))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        // Kept open to the end: closing it ends the command.
        let mut stdin = child.stdin.take().ok_or_else(closed)?;
        let stdout = child.stdout.take().ok_or_else(closed)?;
        let stderr = child.stderr.take().ok_or_else(closed)?;
        stdin.write_all(&serde_json::to_vec(order)?).await?;
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        let (read, output) = tokio::join!(stdout.read_line(&mut line), tail(stderr));
        read?;
        child.wait().await?;
        if line.is_empty() {
            return Err(io::Error::other("it ended without a word"));
        }
        Ok((serde_json::from_str(&line)?, output))
    }
}

/// Reads the output to its end, and returns its last line in printable form.
async fn tail(mut output: impl AsyncRead + Unpin) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..length]);
        let beyond = kept.len().saturating_sub(TAIL_BYTES);
        kept.drain(..beyond);
    }
    let text = String::from_utf8_lossy(&kept);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect()
}
