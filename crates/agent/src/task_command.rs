//! The commands that the task of an instance takes.

use model::{Expect, Launch, Millis};
use tokio::sync::oneshot;

/// A command to the task of an instance.
#[derive(Debug)]
pub(crate) enum TaskCommand {
    Run(Box<Launch>, Expect),
    Stop(Millis),
    /// Ends the task once the instance has ended, and sends the reply. The instance's folder is deleted after
    /// that.
    Finish(oneshot::Sender<()>),
}
