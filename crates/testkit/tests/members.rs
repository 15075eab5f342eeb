//! The fleet's members as control keeps them: a command is answered once it is in the journal, and a restart
//! forgets neither members nor who was removed.

#![allow(clippy::wildcard_enum_match_arm, reason = "of all commands a test looks for one")]

use std::collections::BTreeMap;

use control::{Answer, Command, Engine, Event, Record, Refusal, Ticket, VERSION};
use journal::{Lost, Recovered, Seq, StoredRecord};
use model::{Digest, FleetView, Role, Timestamp};
use rollout::FleetAsk;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// An engine with a log that a test can read again.
struct Control {
    engine: Engine,
    log: Vec<StoredRecord>,
    shown: FleetView,
}

impl Control {
    fn start(log: Vec<StoredRecord>) -> Self {
        let recovered = Recovered { records: log.clone(), ..Recovered::default() };
        let mut engine = Engine::recover(1, &[], &recovered).expect("it is whole");
        let mut control = Self { shown: FleetView::default(), log, engine: engine.clone() };
        let commands = engine.begin(NOW);
        control.engine = engine;
        control.take(&commands);
        control
    }

    /// Notes what is shown. Returns the answer among the commands, if there is one.
    fn take(&mut self, commands: &[Command]) -> Option<Result<Answer, Refusal>> {
        let mut answered = None;
        for command in commands {
            if let Command::ShowFleet(view) = command {
                self.shown = FleetView::clone(view);
            }
            if let Command::Answer(_, answer) = command {
                answered = Some(answer.clone());
            }
        }
        answered
    }

    /// Gives a command, and returns its answer if it came before anything was written.
    fn ask(&mut self, ask: &FleetAsk) -> (Option<Result<Answer, Refusal>>, Vec<Record>) {
        let event = Event::Fleet { ticket: Ticket(1), ask: ask.clone() };
        let commands = self.engine.step(event, NOW);
        let appended = commands.iter().find_map(|command| match command {
            Command::Append(records) => Some(records.clone()),
            _ => None,
        });
        (self.take(&commands), appended.unwrap_or_default())
    }

    /// Gives a command, lets it be written, and returns its answer.
    fn commit(&mut self, ask: &FleetAsk) -> Result<Answer, Refusal> {
        let (answer, records) = self.ask(ask);
        if let Some(answer) = answer {
            return answer;
        }
        for record in records {
            let seq = Seq(self.log.len() as u64 + 1);
            let body = serde_json::to_vec(&record).expect("it has text keys only");
            self.log.push(StoredRecord { seq, version: VERSION, body });
        }
        let commands = self.engine.step(Event::Appended(Ok(())), NOW);
        self.take(&commands).expect("it is answered")
    }
}

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn invite(name: &str, secret: u8) -> FleetAsk {
    FleetAsk::Invite {
        role: Role::Host,
        name: name.parse().expect("a name"),
        secret: digest(secret),
        address: None,
        labels: BTreeMap::new(),
        replace: false,
    }
}

#[test]
fn a_member_is_known_once_it_is_journaled_and_after_a_restart() {
    let mut control = Control::start(Vec::new());
    control.commit(&invite("web-1", 1)).expect("it is accepted");
    let join = FleetAsk::Join { secret: digest(1), key: digest(50) };
    let (answer, records) = control.ask(&join);
    assert_eq!((answer, records.len()), (None, 1), "it waits for the journal");
    assert_eq!(control.shown.by_key(digest(50)), None);
    let commands = control.engine.step(Event::Appended(Ok(())), NOW);
    assert!(matches!(control.take(&commands), Some(Ok(_))));
    assert!(control.shown.by_key(digest(50)).is_some());

    let mut control = Control::start(Vec::new());
    control.commit(&invite("web-1", 1)).expect("it is accepted");
    control.commit(&join).expect("it is accepted");
    control.commit(&invite("web-2", 2)).expect("it is accepted");
    let remove = FleetAsk::Remove { name: "web-1".parse().expect("a name") };
    control.commit(&remove).expect("it is accepted");
    let mut again = Control::start(control.log);
    assert_eq!(again.shown.removed, [digest(50)]);
    assert!(again.commit(&FleetAsk::Join { secret: digest(2), key: digest(51) }).is_ok());
    assert!(again.shown.by_key(digest(51)).is_some());
}

#[test]
fn commands_that_are_written_together_are_judged_one_after_the_other() {
    let mut control = Control::start(Vec::new());
    let (answer, _) = control.ask(&invite("web-1", 1));
    assert_eq!(answer, None);
    // While that is being written, two machines come with what was invited just before, and one wins.
    let mut answers = Vec::new();
    for (ticket, key) in [(7, 50), (8, 51)] {
        let ask = FleetAsk::Join { secret: digest(1), key: digest(key) };
        let event = Event::Fleet { ticket: Ticket(ticket), ask };
        assert!(control.engine.step(event, NOW).is_empty(), "it waits");
    }
    let mut take = |commands: Vec<Command>| {
        answers.extend(commands.into_iter().filter_map(|command| match command {
            Command::Answer(ticket, answer) => Some((ticket, answer.is_ok())),
            _ => None,
        }));
    };
    take(control.engine.step(Event::Appended(Ok(())), NOW));
    take(control.engine.step(Event::Appended(Ok(())), NOW));
    answers.sort();
    assert_eq!(answers, [(Ticket(1), true), (Ticket(7), true), (Ticket(8), false)]);
}

#[test]
fn a_journal_that_takes_nothing_leaves_the_fleet_as_it_was() {
    let mut control = Control::start(Vec::new());
    let (answer, records) = control.ask(&invite("web-1", 1));
    assert_eq!((answer, records.len()), (None, 1));
    let full = Lost::Refused("the disk is full".into());
    let commands = control.engine.step(Event::Appended(Err(full)), NOW);
    let refusal = control.take(&commands).expect("it is answered").expect_err("it is refused");
    assert!(refusal.message.contains("the disk is full"), "{}", refusal.message);
    let join = FleetAsk::Join { secret: digest(1), key: digest(50) };
    let unknown = control.commit(&join).expect_err("nobody was invited");
    assert!(unknown.message.contains("unknown"), "{}", unknown.message);
}
