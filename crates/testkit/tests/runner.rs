//! The runner on a real journal: what is known from the first moment after a restart.

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use control::{Ask, Clock, Engine, Hosts, Inbox, Outbox, Runner, RunnerConfig, Traffic};
use journal::{Journal, Options, Seq};
use model::{AppName, AppView, HealthTable, HostCommand, Millis, ProxyId, Snapshot, Timestamp};
use testkit::{release, spec};

/// A machine on which nothing ever happens.
struct Nothing;

impl Hosts for Nothing {
    fn send(&mut self, _: HostCommand) {}
}

impl Traffic for Nothing {
    fn publish(&mut self, _: Arc<Snapshot>) {}
    fn health(&mut self, _: Arc<HealthTable>) {}
    fn report(&mut self) -> Option<model::TrafficReport> {
        None
    }
}

/// The names of the apps that were shown.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<AppName>>>);

impl Shown {
    fn names(&self) -> Vec<AppName> {
        self.0.lock().expect("nobody panics").clone()
    }
}

impl Outbox for Shown {
    fn announce(&mut self, _: model::Event) {}
    fn show(&mut self, view: Arc<AppView>) {
        self.0.lock().expect("nobody panics").push(view.app.clone());
    }
    fn hide(&mut self, _: &AppName) {}
}

/// A runner on the journal at `path`, with all that it had recorded.
fn runner(path: &Path, shown: &Shown, inbox: &Inbox) -> Runner {
    let (journal, recovered) = Journal::open(path, Options::default()).expect("it opens");
    let records = recovered.records.iter().map(|r| (r.seq.0, r.version, r.body.as_slice()));
    let engine =
        Engine::recover(recovered.term, &[ProxyId(0)], None, records).expect("it is whole");
    let config = RunnerConfig {
        journal,
        last: recovered.records.last().map_or(Seq(0), |record| record.seq),
        hosts: Box::new(Nothing),
        traffic: Box::new(Nothing),
        outbox: Box::new(shown.clone()),
        crash: None,
        clock: Clock::new(Timestamp(1), engine.last_fact(), Millis(0)),
        boot_time: || Millis(0),
    };
    Runner::new(engine, config, inbox.clone())
}

/// Asks for a first release of the app. What comes of it, and which apps were shown by then.
fn deploy(
    inbox: &Inbox,
    app: &AppName,
    shown: &Shown,
) -> mpsc::Receiver<(Result<control::Answer, control::Refusal>, Vec<AppName>)> {
    let release = Box::new(release(spec(app), "v1", 1));
    let (reply, answer) = mpsc::channel();
    let shown = shown.clone();
    inbox.ask(
        app.clone(),
        Ask::Deploy { release, replace: false },
        None,
        control::Mode::Commit,
        move |said| {
            reply.send((said, shown.names())).expect("it is awaited");
        },
    );
    answer
}

#[test]
fn whoever_is_answered_can_see_what_was_done() {
    let folder = tempfile::tempdir().expect("there is room");
    let web: AppName = "web".parse().expect("it is valid");
    let ((inbox, mail), shown) = (Inbox::new(), Shown::default());
    let runner = runner(&folder.path().join("journal.db"), &shown, &inbox);
    let answer = deploy(&inbox, &web, &shown);
    let thread = std::thread::spawn(move || runner.run(mail, || ()));
    let (said, seen) = answer.recv().expect("it answers");
    assert_eq!((said.is_ok(), seen), (true, vec![web]));
    inbox.stop();
    thread.join().expect("it ends in order");
}

#[test]
fn whoever_is_told_that_it_has_begun_can_see_every_app() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("journal.db");
    let web: AppName = "web".parse().expect("it is valid");
    {
        let ((inbox, mail), shown) = (Inbox::new(), Shown::default());
        let first = runner(&path, &shown, &inbox);
        let answer = deploy(&inbox, &web, &shown);
        let thread = std::thread::spawn(move || first.run(mail, || ()));
        answer.recv().expect("it answers").0.expect("it is accepted");
        inbox.stop();
        thread.join().expect("it ends in order");
    }
    let (inbox, mail) = Inbox::new();
    let shown = Shown::default();
    let again = runner(&path, &shown, &inbox);
    inbox.stop();
    let mut at_begin = None;
    again.run(mail, || at_begin = Some(shown.names()));
    assert_eq!(at_begin, Some(vec![web]));
}

/// A journal that cannot take a batch says so at once, on control's own thread: also with its inbox full.
#[test]
fn control_does_not_wait_for_itself() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("journal.db");
    let web: AppName = "web".parse().expect("it is valid");
    let ((inbox, mail), shown) = (Inbox::new(), Shown::default());
    let (journal, recovered) = Journal::open(&path, Options::default()).expect("it opens");
    // Its thread is dead: every append is answered by whoever makes it.
    let record = journal::NewRecord { version: 1, body: b"{}".to_vec() };
    journal.append(vec![record.clone()], |_| panic!("planted"));
    loop {
        let (tell, told) = mpsc::channel();
        journal.append(vec![record.clone()], move |said| tell.send(said).expect("it is awaited"));
        let said = told.recv().expect("it is told");
        if matches!(said, Err(journal::AppendError::Closed)) {
            break;
        }
    }
    let engine = Engine::recover(recovered.term, &[ProxyId(0)], None, []).expect("it is whole");
    let config = RunnerConfig {
        journal,
        last: Seq(0),
        hosts: Box::new(Nothing),
        traffic: Box::new(Nothing),
        outbox: Box::new(shown.clone()),
        crash: None,
        clock: Clock::new(Timestamp(1), engine.last_fact(), Millis(0)),
        boot_time: || Millis(0),
    };
    let runner = Runner::new(engine, config, inbox.clone());
    let answer = deploy(&inbox, &web, &shown);
    // As many messages as the inbox takes: the commands that find it full are refused where they are asked.
    let others: Vec<_> = (0..10_000).map(|_| deploy(&inbox, &web, &shown)).collect();
    let refused = others.iter().filter(|answer| answer.try_recv().is_ok()).count();
    assert!(refused > 5_000, "only {refused} were refused: the inbox is not full");
    let thread = std::thread::spawn(move || runner.run(mail, || ()));
    let (said, _) = answer.recv().expect("it answers");
    let refusal = said.expect_err("it cannot be recorded");
    assert!(refusal.message.starts_with("cannot record the command"), "{}", refusal.message);
    inbox.stop();
    thread.join().expect("it ends in order");
}
