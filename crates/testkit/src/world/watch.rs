//! Checks and counts of a world besides the engine's own invariants.

use control::{Command, Engine, Ticket};
use model::{AppName, Generation, Snapshot};
use rollout::Ask;

use super::{World, connections};
use crate::violation::Wrong;
use crate::{names, records, silence, table_users, unreached, values};

/// Records the values that a deploy brings. While the server is down, the deploy reaches nobody.
pub(super) fn asked(world: &mut World, ticket: Ticket, app: &AppName, ask: &Ask) {
    world.hosts.values.asked(ticket, app, ask);
    if world.is_down {
        world.hosts.values.server_dies();
    }
}

/// Checks commands: not too many apps, no app refused too early, no value of a variable anywhere.
pub(super) fn said(world: &mut World, commands: &[Command]) {
    let named = world.engine.as_ref().and_then(|it| names::check(it, commands, world.most_apps));
    let has_values = !world.hosts.values.is_empty();
    let told = || if has_values { values::check_told(commands) } else { None };
    let wrong = named.or_else(told).or_else(|| decided(world, commands));
    world.checker.found(wrong, world.now);
}

/// Checks the facts that were decided, one after the other.
fn decided(world: &mut World, commands: &[Command]) -> Option<Wrong> {
    let decided = commands.iter().any(|command| matches!(command, Command::Append(_)));
    let heard = decided.then(|| connections::heard(world))?;
    let World { engine, hosts, proxies, checker, coverage, now, .. } = world;
    let alive = hosts.alive().collect();
    let engine = engine.as_ref()?;
    table_users::believed(engine).or_else(|| {
        records::find_wrong(engine, commands, |app, fact| {
            coverage.decided(fact);
            silence::check(engine, (app, fact), &alive, &heard)
                .or_else(|| checker.budgets.check(engine, (app, fact), &heard))
                .or_else(|| table_users::let_go(app, fact, proxies))
                .or_else(|| unreached::moved((app, fact), proxies))
                .or_else(|| unreached::check((app, fact), (engine, proxies), *now))
        })
    })
}

/// Checks a table for a proxy on another machine.
pub(super) fn sent(world: &mut World, number: usize, snapshot: &Snapshot) {
    let wrong = (number > 0).then(|| table_users::sent(snapshot, &world.proxies[number])).flatten();
    world.checker.found(wrong, world.now);
}

/// Checks a commit.
pub(super) fn committed(world: &mut World, generation: Generation) {
    let Some(engine) = &world.engine else { return };
    let hurried = &world.checker.hurried;
    let wrong = table_users::committed(generation, hurried, engine, &world.proxies);
    world.checker.found(wrong, world.now);
}

/// Checks the counts of control.
pub(super) fn counted(world: &mut World, engine: &Engine) {
    let wrong = world.checker.counts.check(engine);
    world.checker.found(wrong, world.now);
}

/// Checks that everything has come to rest.
pub(super) fn quiet(world: &mut World) {
    let Some(engine) = &world.engine else { return };
    world.checker.quiet(engine, &world.hosts, world.now);
    let processes = world.proxies.iter().enumerate();
    let processes = processes.map(|(number, proxy)| (number, proxy.epoch));
    let uncounted = world.checker.counts.check_quiet(engine, processes);
    let left = values::check_quiet(engine, &world.hosts.values);
    let behind = table_users::behind(engine, &world.proxies);
    world.checker.found(uncounted.or(left).or(behind), world.now);
}

/// Records accepted commands. The views at that time are still those that were decided on.
pub(super) fn accepted(world: &mut World, commands: &[Command]) {
    for command in commands {
        if let Command::Answer(ticket, answer) = command
            && let Some((app, asked)) = world.asked.remove(ticket)
            && matches!(answer, Ok(answer) if !answer.already)
            && let Some(view) = world.views.get(&app)
        {
            world.coverage.accepted(asked, view);
        }
    }
}
