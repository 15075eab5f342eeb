//! Checks and counts of a world besides the engine's own invariants.

use control::{Command, Engine, Ticket};
use model::{AppName, Generation};
use rollout::Ask;

use super::{World, connections};
use crate::{names, silence, table_users, values};

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
    let decided = commands.iter().any(|command| matches!(command, Command::Append(_)));
    let engine = world.engine.as_ref().filter(|_| decided);
    let acted = || {
        engine.and_then(|it| silence::check(it, commands, &world.hosts, &connections::heard(world)))
    };
    let wrong = named.or_else(told).or_else(acted);
    let heard = connections::heard(world);
    let budgets = &mut world.checker.budgets;
    let overspent = engine.and_then(|it| budgets.check(it, commands, &heard));
    world.checker.found(wrong.or(overspent), world.now);
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
