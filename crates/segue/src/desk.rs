//! What the API sees of control: how apps look, what happened, and where to put commands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use control::{Answer, Inbox, Mode, Refusal, RefusalCode};
use model::{AppName, AppView, Receipt, Timestamp};
use server::{Command, Engine, Feed, Pending, Shutdown, Stopping, Subscription};
use tokio::sync::{oneshot, watch};

/// How the apps look, and what has happened to them.
#[derive(Debug, Default)]
pub struct Board {
    pub feed: Feed,
    views: RwLock<BTreeMap<AppName, Arc<AppView>>>,
}

impl Board {
    pub fn show(&self, view: Arc<AppView>) {
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        views.insert(view.app.clone(), view);
    }

    pub fn hide(&self, app: &AppName) {
        self.views.write().unwrap_or_else(PoisonError::into_inner).remove(app);
    }

    fn all(&self) -> Vec<Arc<AppView>> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        views.values().cloned().collect()
    }
}

/// How the server is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not at all.
    NotYet,
    /// The server ends, the instances go on.
    Server,
    /// Everything ends.
    Everything,
}

/// Control, or the reason why there is none.
pub struct Desk {
    pub board: Arc<Board>,
    /// `Err` while nothing can be changed: traffic goes on.
    pub inbox: Result<Inbox, String>,
    pub clock: fn() -> Timestamp,
    /// The data folder.
    pub data: PathBuf,
    pub end: watch::Sender<End>,
}

impl Desk {
    /// Puts the command into control's inbox, and waits for the answer.
    async fn ask(&self, command: Command, mode: Mode) -> Result<Answer, Refusal> {
        let Command { app, seen, ask } = command;
        let unavailable = |why: &str| Refusal {
            code: RefusalCode::Unavailable,
            message: format!("cannot change {app}: {why}"),
            hint: Some("traffic goes on; look at the server's log".into()),
        };
        let inbox = self.inbox.as_ref().map_err(|why| unavailable(why))?;
        let (reply, answer) = oneshot::channel();
        inbox.ask(app.clone(), ask, seen, mode, move |answered| {
            // Whoever asked may have gone; the command stands.
            let _ = reply.send(answered);
        });
        answer.await.unwrap_or_else(|_| Err(unavailable("the server is ending")))
    }
}

impl Engine for Desk {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn view(&self, app: &AppName) -> Option<Arc<AppView>> {
        self.board.views.read().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    fn apps(&self) -> Vec<Arc<AppView>> {
        self.board.all()
    }

    fn command(&self, command: Command) -> Pending<'_, Result<Answer, Refusal>> {
        Box::pin(self.ask(command, Mode::Commit))
    }

    fn dry_run(&self, command: Command) -> Pending<'_, Result<Answer, Refusal>> {
        Box::pin(self.ask(command, Mode::DryRun))
    }

    fn account(&self, app: &AppName) -> Pending<'_, Option<Receipt>> {
        let app = app.clone();
        Box::pin(async move {
            let inbox = self.inbox.as_ref().ok()?;
            let (reply, answer) = oneshot::channel();
            inbox.account(app, move |account| {
                // Whoever asked may have gone.
                let _ = reply.send(account);
            });
            answer.await.ok().flatten()
        })
    }

    fn events(&self, app: &AppName, after: u64) -> Subscription {
        self.board.feed.follow(app, after)
    }

    fn read_only(&self) -> Option<String> {
        match &self.inbox {
            Ok(inbox) => inbox.fault(),
            Err(why) => Some(why.clone()),
        }
    }
}

impl Shutdown for Desk {
    fn down(&self) -> Pending<'_, Result<Stopping, Refusal>> {
        Box::pin(async move {
            // Counted on the disk: it is true whatever control knows.
            let instances = agent::running(&self.data).map_err(|error| Refusal {
                code: RefusalCode::Unavailable,
                message: format!("cannot find the instances in {}: {error}", self.data.display()),
                hint: Some("nothing was stopped; look at the data folder's run/".into()),
            })?;
            self.end.send_replace(End::Everything);
            Ok(Stopping { instances })
        })
    }
}
