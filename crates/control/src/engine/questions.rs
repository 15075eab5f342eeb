//! Questions to the engine. The core answers each, and its facts become part of the append in progress.
//! Changes no app itself.

use model::{AppName, Timestamp};
use rollout::{App, Ask, Bug, Fact, Refusal, RefusalCode};

use super::{Append, Engine, Question};
use crate::managed::Managed;
use crate::message::{Answer, Command, Mode};
use crate::places;
use crate::record::Record;

/// Queues a question, unless too many are waiting already.
pub(super) fn queue(engine: &mut Engine, question: Question, commands: &mut Vec<Command>) {
    let of_app = engine.questions.iter().filter(|other| other.app == question.app).count();
    if engine.questions.len() >= Engine::QUESTIONS || of_app >= Engine::QUESTIONS_OF_ONE {
        let why = format!("{of_app} commands are waiting for the journal");
        commands.push(Command::Answer(question.ticket, Err(refuse(&question.app, &why))));
        return;
    }
    engine.questions.push_back(question);
}

pub(super) fn answer_questions(
    engine: &mut Engine,
    now: Timestamp,
    append: &mut Append,
    commands: &mut Vec<Command>,
) {
    for question in std::mem::take(&mut engine.questions) {
        if has_to_wait(engine, &question, append, now) {
            engine.questions.push_back(question);
            continue;
        }
        let accepted = answer(engine, &question, append, now);
        let Question { ticket, app, ask, version: _, mode } = question;
        let accepted = accepted.and_then(|accepted| {
            let by = (&app, ask.verb());
            places::check(by, &accepted.facts, &engine.apps, &append.records)?;
            Ok(accepted)
        });
        match accepted {
            Ok(rollout::Accepted { facts, rollout, release, note, ends, begins }) => {
                let already = facts.is_empty();
                let answer = Answer { rollout, release, note, already, ends, begins };
                if already || mode == Mode::DryRun {
                    commands.push(Command::Answer(ticket, Ok(answer)));
                } else {
                    append.records.push(Record::App { app, facts });
                    append.answers.push((ticket, answer));
                }
            }
            Err(refusal) => commands.push(Command::Answer(ticket, Err(refusal))),
        }
    }
}

/// Returns whether a command has to wait: for earlier commands on the same app, or, after a start, for
/// the first look at its instances. A command never waits for other apps.
fn has_to_wait(engine: &Engine, question: &Question, append: &Append, now: Timestamp) -> bool {
    let app = &question.app;
    let is_second = engine.questions.iter().any(|before| before.app == *app)
        || append.records.iter().any(|record| record.app() == Some(app));
    let is_unseen = || {
        question.ask.looks_at_health()
            && now < engine.recovered.after(Engine::FIRST_LOOK)
            && engine.apps.get(app).is_some_and(Managed::has_unseen)
    };
    is_second || is_unseen()
}

fn answer(
    engine: &Engine,
    Question { app: name, ask, version, ticket: _, mode: _ }: &Question,
    append: &Append,
    now: Timestamp,
) -> Result<rollout::Accepted, Refusal> {
    let known = engine.apps.get(name);
    let full = || apps_to_be(engine, append) >= engine.most_apps;
    let newcomer;
    let managed = match (known, ask) {
        (Some(managed), _) if !managed.app.is_removed() => managed,
        (Some(managed), Ask::Deploy { .. }) if !full() => managed,
        // The app's state still exists and is to be removed.
        (Some(managed), Ask::Remove { with_state: true }) => managed,
        (_, Ask::Deploy { .. }) | (None, Ask::Remove { with_state: true }) if full() => {
            let (verb, most) = (ask.verb(), engine.most_apps);
            let message = format!("cannot {verb} {name}: there are {most} apps already");
            let hint = Some("remove an app that is not needed: `segue remove APP`".into());
            return Err(Refusal { code: RefusalCode::Refused, message, hint });
        }
        (None, Ask::Deploy { .. } | Ask::Remove { with_state: true }) => {
            newcomer = Managed::new(App::new(name.clone()));
            &newcomer
        }
        (Some(_) | None, _) => {
            let message = format!("there is no app {name}");
            let hint = Some("`segue status` lists the apps".into());
            return Err(Refusal { code: RefusalCode::NotFound, message, hint });
        }
    };
    check_proxies(engine, managed, ask)?;
    managed.ask(ask, *version, engine.shared(), now)
}

/// Returns the number of apps, including those whose first rollout is in the append being prepared.
fn apps_to_be(engine: &Engine, append: &Append) -> usize {
    let is_there =
        |name: &AppName| engine.apps.get(name).is_some_and(|managed| !managed.app.is_removed());
    let begins = |record: &&Record| {
        record.app().is_some_and(|name| !is_there(name))
            && record.facts().iter().any(|fact| matches!(fact, Fact::Started(_)))
            && !Bug::ForgetsNewcomers.is_planted()
    };
    let removed = |app: &&App| app.is_removed() && !Bug::CountsRemovedApps.is_planted();
    let there = engine.apps.states().filter(|app| !removed(app)).count();
    there + append.records.iter().filter(begins).count()
}

/// Refuses a command that some proxy cannot carry out, before anything is begun.
fn check_proxies(engine: &Engine, managed: &Managed, ask: &Ask) -> Result<(), Refusal> {
    let proxies = &engine.routing.proxies;
    let (lacking, other) = match ask {
        // A first release gets all of the traffic at once.
        Ask::Deploy { release, .. } if managed.app.live.is_some() => {
            let strategy = &release.spec.strategy.kind;
            let lacking = proxies.lacking(|proxy| proxy.lacks_for(strategy));
            (lacking, "set another strategy in [strategy]")
        }
        Ask::Maintenance { on: Some(closed) } => {
            let lacking = proxies.lacking(|proxy| proxy.lacks_while(closed));
            (lacking, "leave out what it cannot do, or close the app at that proxy itself")
        }
        Ask::Deploy { .. }
        | Ask::Maintenance { on: None }
        | Ask::Rollback { .. }
        | Ask::Promote(_)
        | Ask::Pause
        | Ask::Resume
        | Ask::Scale { .. }
        | Ask::Sync
        | Ask::Restart
        | Ask::Abort
        | Ask::Work(_)
        | Ask::Remove { .. } => return Ok(()),
    };
    let Some((proxy, what)) = lacking else { return Ok(()) };
    let (verb, app) = (ask.verb(), &managed.app.name);
    let message = format!("cannot {verb} {app}: proxy {} cannot {what}", proxy.as_str());
    Err(Refusal { code: RefusalCode::Refused, message, hint: Some(other.into()) })
}

pub(super) fn refuse(app: &AppName, why: &str) -> Refusal {
    let message = format!("cannot change {app}: {why}");
    Refusal { code: RefusalCode::Unavailable, message, hint: Some("try again later".into()) }
}
