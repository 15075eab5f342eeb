//! Takes what agents report, and whether they are connected. Decides nothing.

use model::{FromHost, HostCommand, HostId, HostReport, InstanceId, Link, Millis, Timestamp};

use super::Engine;
use crate::hosts::{LinkNews, in_use};
use crate::message::Command;

/// Takes a report of an agent. What concerns an instance that is not on its host is dropped.
pub(super) fn report(
    engine: &mut Engine,
    from: FromHost,
    now: Timestamp,
    commands: &mut Vec<Command>,
) {
    let FromHost { host, report } = from;
    let id: InstanceId = match &report {
        HostReport::Ports { free } => {
            let coming = engine.writing.append.iter().flat_map(|append| &append.records);
            let used = in_use(&host, engine.apps.states(), coming);
            if engine.hosts.offer(&host, free, &used) {
                engine.apps.dirty_all();
            }
            return;
        }
        HostReport::Kept(keep) => {
            engine.apps.change(&keep.app, |managed| managed.kept(host.clone(), keep.clone()));
            return;
        }
        HostReport::Fetching { id, .. }
        | HostReport::Running { id, .. }
        | HostReport::Health { id, .. }
        | HostReport::NotStarted { id, .. }
        | HostReport::Exited { id, .. } => id.clone(),
    };
    let known = engine.apps.get(&id.app).and_then(|it| it.app.host_of(id.number));
    if known != Some(&host) {
        if let Some(own) = known {
            tracing::warn!(%host, %id, %own, "a report about an instance of another host is dropped");
        }
        if matches!(report, HostReport::Running { .. }) {
            // An instance runs that no fact places on that host. Control does not keep it.
            let stop = HostCommand::Stop { id, grace: Millis(0) };
            commands.push(engine.to_host((host, stop)));
        }
        return;
    }
    let (app, number) = (id.app, id.number);
    if engine.apps.change(&app, |managed| managed.report(number, report, now)) == Some(true) {
        engine.health.changed(app);
    }
}

/// Takes a change of the connection to an agent. An agent that has connected is told everything again, as
/// after a start of control.
pub(super) fn link(
    engine: &mut Engine,
    host: &HostId,
    link: Link,
    now: Timestamp,
    commands: &mut Vec<Command>,
) {
    let Some(news) = engine.hosts.link(host, link, now) else { return };
    engine.all_changed();
    let LinkNews::Up { is_stale } = news else { return };
    engine.hosts.forget_question(host);
    let names: Vec<_> = engine.apps.iter().map(|(name, _)| name.clone()).collect();
    for name in &names {
        let again = engine.apps.change(name, |managed| {
            if is_stale {
                managed.forget_health(host, now);
            }
            managed.again(host)
        });
        commands.extend(again.into_iter().flatten().map(|told| engine.to_host(told)));
    }
}
