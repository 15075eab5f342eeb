//! The API's handle to control: the views that control publishes, and the inbox for commands or the reason
//! why there is no control.

use std::sync::Arc;

use control::{Answer, Inbox, Mode, Refusal, RefusalCode};
use model::{AppName, AppView, Receipt, Timestamp};
use tokio::sync::oneshot;

use crate::engine::{ApiEngine, EngineCommand, Pending};
use crate::{AppViews, Subscription};

/// A handle to the engine that control's thread runs.
#[derive(Debug)]
pub struct EngineHandle {
    /// The views that control publishes.
    pub board: Arc<AppViews>,
    /// The inbox for commands. `Err` is the reason why changes are refused; traffic is served all the same.
    pub inbox: Result<Inbox, String>,
    /// Control's clock.
    pub clock: fn() -> Timestamp,
}

impl EngineHandle {
    /// Puts the command into control's inbox and waits for the answer.
    async fn ask(&self, command: EngineCommand, mode: Mode) -> Result<Answer, Refusal> {
        let EngineCommand { app, seen, ask } = command;
        let unavailable = |why: &str| Refusal {
            code: RefusalCode::Unavailable,
            message: format!("cannot change {app}: {why}"),
            hint: Some("traffic goes on; look at the server's log".into()),
        };
        let inbox = self.inbox.as_ref().map_err(|why| unavailable(why))?;
        let (reply, answer) = oneshot::channel();
        inbox.ask(app.clone(), ask, seen, mode, move |answered| {
            // The client may have disconnected. The command stands.
            let _ = reply.send(answered);
        });
        answer.await.unwrap_or_else(|_| Err(unavailable("the server is ending")))
    }
}

impl ApiEngine for EngineHandle {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn view(&self, app: &AppName) -> Option<Arc<AppView>> {
        self.board.view(app)
    }

    fn apps(&self) -> Vec<Arc<AppView>> {
        self.board.views()
    }

    fn command(&self, command: EngineCommand) -> Pending<'_, Result<Answer, Refusal>> {
        Box::pin(self.ask(command, Mode::Commit))
    }

    fn dry_run(&self, command: EngineCommand) -> Pending<'_, Result<Answer, Refusal>> {
        Box::pin(self.ask(command, Mode::DryRun))
    }

    fn account(&self, app: &AppName) -> Pending<'_, Option<Receipt>> {
        let app = app.clone();
        Box::pin(async move {
            let inbox = self.inbox.as_ref().ok()?;
            let (reply, answer) = oneshot::channel();
            inbox.account(app, move |account| {
                // The client may have disconnected.
                let _ = reply.send(account);
            });
            answer.await.ok().flatten()
        })
    }

    fn events(&self, app: &AppName, after: u64) -> Subscription {
        self.board.feed().follow(app, after)
    }

    fn read_only(&self) -> Option<String> {
        match &self.inbox {
            Ok(inbox) => inbox.fault(),
            Err(why) => Some(why.clone()),
        }
    }
}
