//! The runner on a real journal: what is known from the first moment after a restart.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use control::{
    Ask, Ended, Engine, HostLinks, Inbox, Outbox, ProxyLinks, Runner, RunnerConfig, SteadyClock,
};
use journal::sqlite::{Journal, JournalOptions};
use journal::{CheckpointPart, Done, Log, Lost, NewRecord, Recovered, Room, Seq};
use model::{AppName, AppView, FleetView, Millis, ProxyId, Timestamp, ToHost, ToProxy};
use testkit::{Loss, release, spec};

/// A machine on which nothing ever happens.
struct Nothing;

impl HostLinks for Nothing {
    fn send(&mut self, _: ToHost) {}
}

impl ProxyLinks for Nothing {
    fn send(&mut self, _: ToProxy) {}
    fn sample(&mut self) -> Option<model::TrafficReport> {
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
    fn announce(&mut self, _: model::RolloutEvent) {}
    fn show(&mut self, view: Arc<AppView>) {
        self.0.lock().expect("nobody panics").push(view.app.clone());
    }
    fn hide(&mut self, _: &AppName) {}

    fn show_fleet(&mut self, _: Arc<FleetView>) {}
}

/// A journal of which one append goes wrong.
struct Faulty {
    journal: Journal,
    next: Arc<Mutex<Option<Loss>>>,
}

impl Log for Faulty {
    fn append(&mut self, batch: Vec<NewRecord>, done: Done<Seq>) {
        let unknown = || Lost::Unknown("the disk does not answer".into());
        match self.next.lock().expect("nobody panics").take() {
            None => self.journal.append(batch, done),
            Some(Loss::There) => {
                self.journal.append(batch, Box::new(move |_| done(Err(unknown()))));
            }
            Some(Loss::NotThere) => done(Err(unknown())),
            Some(Loss::Fenced) => done(Err(Lost::Fenced { by: 9 })),
        }
    }

    fn checkpoint(&mut self, upto: Seq, parts: Vec<CheckpointPart>, done: Done<()>) {
        self.journal.checkpoint(upto, parts, done);
    }

    fn room(&self) -> Room {
        self.journal.room()
    }
}

fn config(log: impl Log + 'static, last: Seq, shown: &Shown) -> RunnerConfig {
    RunnerConfig {
        log: Box::new(log),
        last,
        hosts: Box::new(Nothing),
        proxies: Box::new(Nothing),
        outbox: Box::new(shown.clone()),
        crash: None,
        clock: SteadyClock::new(Timestamp(1), Timestamp(0), Millis(0)),
        boot_time: || Millis(0),
    }
}

/// A runner on the journal at `path`, with all that it had recorded; its next append fails like that.
fn faulty(
    path: &Path,
    shown: &Shown,
    inbox: &Inbox,
    next: &Arc<Mutex<Option<Loss>>>,
) -> Result<Runner, String> {
    let opened = Journal::open(path, JournalOptions::default());
    let (journal, recovered) = opened.map_err(|error| error.to_string())?;
    let engine =
        Engine::recover(recovered.term, &[ProxyId::local()], &recovered).expect("it is whole");
    let log = Faulty { journal, next: next.clone() };
    Ok(Runner::new(engine, config(log, recovered.head(), shown), inbox.clone()))
}

fn runner(path: &Path, shown: &Shown, inbox: &Inbox) -> Runner {
    faulty(path, shown, inbox, &Arc::default()).expect("it opens")
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
    let thread = std::thread::spawn(move || runner.run(&mail, || ()));
    let (said, seen) = answer.recv().expect("it answers");
    assert_eq!((said.is_ok(), seen), (true, vec![web]));
    inbox.stop();
    assert_eq!(thread.join().expect("it does not panic"), Ended::Stopped);
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
        let thread = std::thread::spawn(move || first.run(&mail, || ()));
        answer.recv().expect("it answers").0.expect("it is accepted");
        inbox.stop();
        assert_eq!(thread.join().expect("it does not panic"), Ended::Stopped);
    }
    let (inbox, mail) = Inbox::new();
    let shown = Shown::default();
    let again = runner(&path, &shown, &inbox);
    inbox.stop();
    let mut at_begin = None;
    let ended = again.run(&mail, || at_begin = Some(shown.names()));
    assert_eq!(ended, Ended::Stopped);
    assert_eq!(at_begin, Some(vec![web]));
}

/// A journal that cannot take a batch says so at once, on control's own thread: also with its inbox full.
#[test]
fn control_does_not_wait_for_itself() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("journal.db");
    let web: AppName = "web".parse().expect("it is valid");
    let ((inbox, mail), shown) = (Inbox::new(), Shown::default());
    let (mut journal, recovered) =
        Journal::open(&path, JournalOptions::default()).expect("it opens");
    // Its thread is dead: every append is answered by whoever makes it.
    let record = journal::NewRecord { version: 1, body: b"{}".to_vec() };
    journal.append(vec![record.clone()], Box::new(|_| panic!("planted")));
    loop {
        let (tell, told) = mpsc::channel();
        let said = move |said| tell.send(said).expect("it is awaited");
        journal.append(vec![record.clone()], Box::new(said));
        let said = told.recv().expect("it is told");
        if said == Err(Lost::Unknown("the journal is closed".into())) {
            break;
        }
    }
    let engine = Engine::recover(recovered.term, &[ProxyId::local()], &Recovered::default());
    let engine = engine.expect("it is whole");
    let config = config(journal, Seq(0), &shown);
    let runner = Runner::new(engine, config, inbox.clone());
    let answer = deploy(&inbox, &web, &shown);
    // As many messages as the inbox takes: the commands that find it full are refused where they are asked.
    let others: Vec<_> = (0..10_000).map(|_| deploy(&inbox, &web, &shown)).collect();
    let refused = others.iter().filter(|answer| answer.try_recv().is_ok()).count();
    assert!(refused > 5_000, "only {refused} were refused: the inbox is not full");
    let thread = std::thread::spawn(move || runner.run(&mail, || ()));
    let (said, _) = answer.recv().expect("it answers");
    let refusal = said.expect_err("it cannot be recorded");
    assert!(refusal.message.starts_with("cannot say whether"), "{}", refusal.message);
    let ended = thread.join().expect("it ends in order");
    assert!(matches!(ended, Ended::SteppedDown { .. }), "{ended:?}");
}

/// What became of a command shows once the journal has been opened anew, in the same process.
#[test]
fn control_goes_on_by_itself_after_an_append_whose_end_nobody_knows() {
    for (loss, is_there) in [(Loss::There, true), (Loss::NotThere, false), (Loss::Fenced, false)] {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("journal.db");
        let names = ["web", "api", "db"];
        let [web, api, db]: [AppName; 3] = names.map(|name| name.parse().expect("valid"));
        let ((inbox, mail), shown) = (Inbox::new(), Shown::default());
        let next = Arc::<Mutex<Option<Loss>>>::default();
        let thread = {
            let (inbox, shown, next) = (inbox.clone(), shown.clone(), next.clone());
            let start = move |_: &BTreeSet<_>| faulty(&path, &shown, &inbox, &next);
            std::thread::spawn(move || {
                control::lead(&mail, start, |begun| assert_eq!(begun, Ok(())))
            })
        };
        let said = |app| deploy(&inbox, app, &shown).recv().expect("it answers").0;
        said(&web).expect("it is recorded");
        *next.lock().expect("nobody panics") = Some(loss);
        let refusal = said(&api).expect_err("nobody knows");
        assert!(refusal.message.starts_with("cannot say whether"), "{}", refusal.message);
        // Whoever asks meanwhile waits for the next engine.
        said(&db).expect("it is recorded");
        let seen = shown.names();
        assert_eq!(seen.contains(&api), is_there, "{loss:?}: {seen:?}");
        assert!(seen.iter().filter(|app| **app == web).count() > 1, "{seen:?}");
        assert_eq!(inbox.fault(), None);
        inbox.stop();
        thread.join().expect("it ends in order");
        assert!(inbox.fault().expect("nobody answers").starts_with("control has ended"));
    }
}

/// As long as the journal cannot be opened anew every command is told why; then control goes on.
#[test]
fn a_journal_that_cannot_be_opened_anew_is_tried_again() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("journal.db");
    let web: AppName = "web".parse().expect("it is valid");
    let ((inbox, mail), shown) = (Inbox::new(), Shown::default());
    let next = Arc::new(Mutex::new(Some(Loss::There)));
    let (opened, opens) = mpsc::channel();
    let (allow, allowed) = mpsc::channel();
    let (asked, answers) = mpsc::channel();
    let thread = {
        let (inbox, shown, next) = (inbox.clone(), shown.clone(), next.clone());
        let mut starts = 0;
        let start = move |_: &BTreeSet<_>| {
            starts += 1;
            if starts == 2 {
                asked
                    .send(deploy(&inbox, &"api".parse().expect("valid"), &shown))
                    .expect("awaited");
                return Err("the disk is away".to_owned());
            }
            if starts > 2 {
                opened.send(inbox.fault()).expect("it is awaited");
                allowed.recv().expect("it is allowed");
            }
            faulty(&path, &shown, &inbox, &next)
        };
        std::thread::spawn(move || control::lead(&mail, start, |begun| assert_eq!(begun, Ok(()))))
    };
    let said = |app| deploy(&inbox, app, &shown).recv().expect("it answers").0;
    said(&web).expect_err("nobody knows");
    let fault = opens.recv().expect("it is tried again");
    assert_eq!(fault.as_deref(), Some("the disk is away"));
    let (said_meanwhile, _) = answers.recv().expect("it is asked").recv().expect("it answers");
    let refusal = said_meanwhile.expect_err("nothing can be changed");
    assert_eq!(refusal.message, "cannot change api: the disk is away");
    allow.send(()).expect("it is awaited");
    let answer = said(&web).expect("it is accepted");
    assert!(answer.already, "it was recorded: {answer:?}");
    assert_eq!(inbox.fault(), None);
    inbox.stop();
    thread.join().expect("it ends in order");
}
