//! The sequence of the demo: which release is deployed when, and what the outcome must be.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use model::{AppName, Outcome};
use wire::{ReceiptWithCause, RollbackRequest};

use super::apps::{self, Comes, DemoRelease};
use super::load::{CONNECTIONS, DemoLoad, Door};
use super::new_users::{NewUsers, SharesSeen};
use super::report::{self, Act};
use super::server::{Server, free_addresses};
use super::timeline::Timeline;
use crate::args::{DemoOptions, DeployOptions, ReleaseOptions, SampleFault};
use crate::follow::{FollowOutcome, Until, follow};
use crate::interrupt::Interrupt;
use crate::progress::ProgressLine;
use crate::text::grouped;
use crate::verbs::{deploy, outcome};
use crate::{CommandError, ExitStatus, Io};

const ACT: &str = "play the demo";
/// The time of load between two acts, in which each release is seen.
const BREATH: Duration = Duration::from_secs(1);

pub(crate) fn run(options: &DemoOptions, io: &mut Io<'_>) -> Result<ExitStatus, CommandError> {
    let program = std::env::current_exe().map_err(|error| CommandError::new(ACT, &error))?;
    let (http, api) = free_addresses().map_err(|error| CommandError::new(ACT, &error))?;
    let interrupt = Interrupt::listen();
    let mut timeline = Timeline::new(io);
    timeline.act("a server of its own");
    for (what, usual, address) in [("apps", 8080, http), ("API", 7070, api)] {
        if address.port() != usual {
            let port = address.port();
            timeline.say(&format!("port {usual} is taken, the {what} get {port} instead"));
        }
    }
    let server = Server::start(&program, http, api)?;
    timeline.say(&format!("apps on http://{http}, API on http://{api}"));
    let mut play = Play {
        server,
        program,
        interrupt,
        acts: Vec::new(),
        switched: Vec::new(),
        shares: SharesSeen::new(),
    };
    let load = play.all(&mut timeline)?;
    let counts = load.stop();
    let Play { acts, switched, shares, .. } = &play;
    let good = report::print(acts, &counts, switched, shares, timeline.io());
    play.leave(options, timeline.io())?;
    if good {
        return Ok(ExitStatus::Done);
    }
    let cause = "a result is not what it has to be; the counts above show which";
    Err(CommandError::because(ACT, cause))
}

/// The state of the sequence.
struct Play {
    server: Server,
    program: PathBuf,
    interrupt: Interrupt,
    acts: Vec<Act>,
    /// The releases in the order they went live.
    switched: Vec<String>,
    /// The shares of the canary that new users got.
    shares: SharesSeen,
}

impl Play {
    fn all(&mut self, timeline: &mut Timeline<'_, '_>) -> Result<DemoLoad, CommandError> {
        timeline.act("deploy v1: two instances, checked before they get a request");
        self.deploy(timeline, &good("v1", Comes::BlueGreen))?;
        let load = DemoLoad::start(self.server.http);
        timeline.act(&format!("load: {CONNECTIONS} users, until the end"));
        self.breathe(timeline, &load)?;
        timeline.act("deploy v2: blue/green, both run, then one switch");
        self.deploy(timeline, &good("v2", Comes::BlueGreen))?;
        self.breathe(timeline, &load)?;
        timeline.act("deploy v3-broken: it dies at its start");
        let broken =
            DemoRelease { broken: Some(SampleFault::Exit), ..good("v3-broken", Comes::BlueGreen) };
        self.deploy(timeline, &broken)?;
        timeline.act("deploy v3: the repaired one");
        self.deploy(timeline, &good("v3", Comes::BlueGreen))?;
        self.breathe(timeline, &load)?;
        self.rollback(timeline)?;
        self.breathe(timeline, &load)?;
        self.other_strategies(timeline, &load)?;
        Ok(load)
    }

    fn rollback(&mut self, timeline: &mut Timeline<'_, '_>) -> Result<(), CommandError> {
        timeline.act("rollback: v2 still runs, so it is one switch");
        let asked = Instant::now();
        let request = RollbackRequest::default();
        let accepted = self.server.client.rollback(&app()?, &request);
        let accepted = accepted.map_err(|error| CommandError::client("roll back demo", &error))?;
        let account = self.follow(timeline, accepted.rollout, "roll back demo")?;
        timeline.say(&format!("the whole command took {} ms", asked.elapsed().as_millis()));
        self.note(timeline, "rollback to v2", account, Outcome::Completed);
        self.switched.push("v2".into());
        Ok(())
    }

    fn other_strategies(
        &mut self,
        timeline: &mut Timeline<'_, '_>,
        load: &DemoLoad,
    ) -> Result<(), CommandError> {
        timeline.act("deploy v4: rolling, in place, one instance after the other");
        self.deploy(timeline, &good("v4", Comes::Rolling))?;
        self.breathe(timeline, load)?;
        timeline.act("deploy v5: canary, 10 % of the users, then 50 %, then all");
        let (http, client) = (self.server.http, self.server.client.clone());
        let new_users = NewUsers::start(http, client, app()?, "v5".into());
        let deployed = self.deploy(timeline, &good("v5", Comes::Canary));
        self.shares = new_users.stop();
        deployed?;
        self.breathe(timeline, load)?;
        timeline.act("deploy v6: recreate, the old one stops before the new one starts");
        load.closed(Door::Closed);
        let deployed = self.deploy(timeline, &good("v6", Comes::Recreate));
        load.closed(Door::Open);
        deployed?;
        self.breathe(timeline, load)
    }

    fn deploy(
        &mut self,
        timeline: &mut Timeline<'_, '_>,
        release: &DemoRelease,
    ) -> Result<(), CommandError> {
        let act = format!("deploy {}", release.label);
        let path = apps::write(&self.server.folder, &self.program, release)
            .map_err(|error| CommandError::new(&*act, &error))?;
        let file = deploy::read(&path, deploy::Outside::Refused)?;
        let kind = file.spec.strategy.kind.name();
        let label = release.label.parse();
        let label = label.map_err(|error: model::Invalid| CommandError::new(&*act, &error))?;
        let what = ReleaseOptions { release: Some(label), ..ReleaseOptions::default() };
        let options = DeployOptions { what, ..DeployOptions::default() };
        let client = &self.server.client;
        let mut silent = ProgressLine::silent();
        let accepted = deploy::send(client, &path, file, &options, timeline.io(), &mut silent)?;
        let account = self.follow(timeline, accepted.rollout, &act)?;
        if account.receipt.outcome == Outcome::Completed {
            self.switched.push(account.receipt.to.to_string());
        }
        let wanted = if release.broken.is_some() { Outcome::Failed } else { Outcome::Completed };
        self.note(timeline, &format!("{}, {kind}", release.label), account, wanted);
        Ok(())
    }

    fn follow(
        &self,
        timeline: &mut Timeline<'_, '_>,
        rollout: Option<u32>,
        act: &str,
    ) -> Result<ReceiptWithCause, CommandError> {
        let rollout = rollout.ok_or_else(|| CommandError::because(act, "nothing was started"))?;
        let app = app()?;
        let (client, interrupt) = (&self.server.client, &self.interrupt);
        let followed = follow(client, &app, rollout, act, interrupt, timeline, Until::End)?;
        match followed {
            FollowOutcome::Ended(account) => Ok(*account),
            FollowOutcome::Detached => Err(CommandError::because(ACT, "it was interrupted")),
            FollowOutcome::Stands(_) => {
                Err(CommandError::because(ACT, "its rollout waits for a person"))
            }
        }
    }

    fn note(
        &mut self,
        timeline: &mut Timeline<'_, '_>,
        name: &str,
        account: ReceiptWithCause,
        wanted: Outcome,
    ) {
        if account.receipt.outcome == Outcome::Completed {
            timeline.say(&outcome::summary(&account.receipt));
        } else {
            let live =
                account.receipt.from.as_ref().map_or_else(|| "nothing".into(), ToString::to_string);
            timeline.say(&format!("{} as it should be, {live} is live", account.receipt.outcome));
        }
        self.acts.push(Act { name: name.to_owned(), receipt: account.receipt, wanted });
    }

    fn breathe(
        &self,
        timeline: &mut Timeline<'_, '_>,
        load: &DemoLoad,
    ) -> Result<(), CommandError> {
        let started = Instant::now();
        while started.elapsed() < BREATH {
            if self.interrupt.asked() {
                return Err(CommandError::because(ACT, "it was interrupted"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let counts = load.so_far();
        let (all, failed) = (grouped(counts.ok + counts.failed), grouped(counts.failed));
        timeline.say(&format!("so far {all} requests, {failed} failed"));
        Ok(())
    }

    /// Stops everything. With `--keep`, says instead how to look at it and how to stop it.
    fn leave(mut self, options: &DemoOptions, io: &mut Io<'_>) -> Result<(), CommandError> {
        if !options.keep {
            self.server.end()?;
            io.say("everything the demo started is stopped, and its folder deleted");
            return Ok(());
        }
        let (api, http) = (self.server.api, self.server.http);
        let token = self.server.folder.join("data/token");
        let with = format!("SEGUE_SERVER=http://{api} SEGUE_TOKEN=$(cat {})", token.display());
        let program = self.program.display();
        io.say(format!("left running: process {}", self.server.pid().unwrap_or_default()));
        io.say(format!("  look:  curl http://{http}"));
        io.say(format!("         {with} {program} status demo"));
        io.say(format!("  stop:  {with} {program} down"));
        io.say(format!("         rm -r {}", self.server.folder.display()));
        self.server.keep();
        Ok(())
    }
}

fn good(label: &'static str, comes: Comes) -> DemoRelease {
    DemoRelease { label, broken: None, comes }
}

fn app() -> Result<AppName, CommandError> {
    "demo".parse().map_err(|error: model::Invalid| CommandError::new(ACT, &error))
}
