//! Prevents route conflicts: no rollout starts if its release wants the requests of another app. The
//! check is made when a command is answered, where all apps are known. Releases on offer already have
//! their place, so neither a switch nor a rollback can cause a conflict.

use model::{AppName, Label, Route};
use rollout::{App, Fact, Refusal, RefusalCode};

use crate::apps::Apps;
use crate::record::Record;

/// A route that an app has, or may have as soon as it switches.
struct Claim<'a> {
    app: &'a AppName,
    label: Label,
    route: &'a Route,
    is_live: bool,
}

/// Refuses facts of `name` that start a rollout into another app's place. If two apps ask at once, the
/// first one gets the place: its record is among `pending`.
pub(crate) fn check(
    (name, verb): (&AppName, &str),
    facts: &[Fact],
    apps: &Apps,
    pending: &[Record],
) -> Result<(), Refusal> {
    let own = apps.get(name).map(|managed| &managed.app);
    let Some((_, wanted)) = started(own, facts) else { return Ok(()) };
    let on_offer = apps.states().flat_map(on_offer);
    let starting = pending.iter().filter_map(|record| {
        let (app, facts) = (record.app()?, record.facts());
        let (label, route) = started(apps.get(app).map(|managed| &managed.app), facts)?;
        Some(Claim { app, label, route, is_live: false })
    });
    let mut others = on_offer.chain(starting).filter(|claim| claim.app != name);
    match others.find_map(|claim| Some((wanted.conflict(claim.route)?, claim))) {
        Some((place, claim)) => Err(refusal(name, verb, &place, &claim)),
        None => Ok(()),
    }
}

/// Returns the label and the route of the release that a rollout brings in.
fn started<'a>(app: Option<&'a App>, facts: &'a [Fact]) -> Option<(Label, &'a Route)> {
    let to = |fact: &'a Fact| {
        let Fact::Started(started) = fact else { return None };
        let stored = || app?.releases.get(&started.to);
        started.release.as_ref().or_else(stored)
    };
    let release = facts.iter().rev().find_map(to)?;
    Some((release.label.clone(), &release.spec.route))
}

/// Returns the releases that are live, come in, or may be gone back to.
fn on_offer(app: &App) -> impl Iterator<Item = Claim<'_>> {
    let releases = app.on_offer().filter_map(|no| app.releases.get(&no));
    releases.map(|release| Claim {
        app: &app.name,
        label: release.label.clone(),
        route: &release.spec.route,
        is_live: app.live == Some(release.no),
    })
}

fn refusal(name: &AppName, verb: &str, place: &str, claim: &Claim<'_>) -> Refusal {
    let Claim { app, label, .. } = claim;
    let message = format!("cannot {verb} {name}: {place} belongs to {app} (release {label})");
    let hint = match claim.is_live {
        true => format!("choose another host or path, or deploy {app} without it first"),
        false => {
            format!("{label} is not live, but may be: it is free once {app} keeps {label} no more")
        }
    };
    Refusal { code: RefusalCode::Refused, message, hint: Some(hint) }
}
