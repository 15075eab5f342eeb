//! Leads a quiet world to one phase of one strategy, and applies one fault or command there. Chance alone
//! would seldom reach such a combination.

use model::{
    AppName, Capacity, Gate, Maintenance, Millis, OnFailure, Order, Page, ReleaseNo, Share,
    Standby, Step, StrategyKind, Switch,
};
use rollout::{Ask, Promote};

use crate::apps::{Behaviour, release, spec, task};
use crate::coverage::{Place, place};
use crate::disk::Loss;
use crate::hosts::HostNo;
use crate::world::World;

/// A fault or command, and the place to apply it.
#[derive(Clone, Copy, Debug)]
pub struct Ambush {
    /// The place.
    pub place: Place,
    /// The name of a fault or command.
    pub what: &'static str,
}

/// Maximum time to get there, in virtual milliseconds.
const PATIENCE: u64 = 40_000;
/// Duration of a watch in these scenarios.
const WATCH: Millis = Millis(400);
/// Duration of a watch in which the candidate is to die.
const LONG_WATCH: Millis = Millis(4_000);

impl Ambush {
    /// Plays the scenario, with releases numbered from `serial` on. Returns the next free number.
    pub fn play(self, world: &mut World, app: &AppName, mut serial: u64) -> u64 {
        let (strategy, phase) = self.place;
        if matches!(self.what, "dead-proxy" | "cut-proxy") && world.proxies.len() == 1 {
            world.add_proxy();
        }
        for _ in 0..2 {
            // A request that outlasts the second rollout keeps an instance of the first release from being
            // gone.
            let calm = StrategyKind::BlueGreen { switch: Switch::Auto };
            self.deploy(world, app, &mut serial, calm, Behaviour::Good(100));
            until(world, app, ("none", "idle"));
            if phase == "settling" && serial == 1 {
                (0..6).for_each(|_| world.request(app, 12_000));
            }
        }
        // A switch mostly takes a few milliseconds, too few for the fault or command to come in between.
        world.faults.slow_swap = u64::from(phase == "switching");
        if strategy == "rollback" {
            if phase == "settling" {
                let calm = StrategyKind::BlueGreen { switch: Switch::Auto };
                self.deploy(world, app, &mut serial, calm, Behaviour::Good(100));
                until(world, app, ("blue-green", "settling"));
            }
            world.ask(app, Ask::Rollback { to: None }, None);
        } else if strategy == "restart" {
            world.ask(app, Ask::Restart, None);
        } else if let Some(kind) = self.kind() {
            let is_closing = self.place == ("recreate", "starting");
            if is_closing && matches!(self.what, "dead-proxy" | "cut-proxy") {
                // The proxy does not hear that the app is closed, and control does not know that yet.
                world.cut_proxy(1, 20_000);
            }
            let behaviour = match phase {
                "reverting" if strategy == "recreate" => Behaviour::Exits(300),
                "reverting" => Behaviour::DiesLater(1_500),
                "starting" => Behaviour::Good(2_000),
                _ => Behaviour::Good(100),
            };
            self.deploy(world, app, &mut serial, kind, behaviour);
        }
        if until(world, app, self.place) {
            self.strike(world, app, &mut serial);
            world.run_for(300);
            world.disk.full = false;
            world.disk.next = None;
        }
        world.faults.slow_swap = 0;
        serial
    }

    /// Returns the strategy of the place, with gates that wait for a person if the place is such a gate.
    fn kind(self) -> Option<StrategyKind> {
        let (strategy, phase) = self.place;
        let gate = match phase {
            "holding" => Gate::Manual,
            // The candidate dies during this time.
            "reverting" => Gate::After(Millis(5_000)),
            _ => Gate::After(Millis(50)),
        };
        Some(match strategy {
            "blue-green" => {
                let switch = if phase == "ready" { Switch::Manual } else { Switch::Auto };
                StrategyKind::BlueGreen { switch }
            }
            "rolling" => StrategyKind::Rolling {
                batch: model::Batch::Count(1),
                order: Order::InPlace,
                pause: if phase == "holding" { Millis(5_000) } else { Millis(50) },
                on_failure: OnFailure::Revert,
            },
            "canary" => StrategyKind::Canary {
                steps: vec![Step { share: Share::from_ten_thousandths(2_500)?, gate }],
                cohort: None,
                capacity: Capacity::Share,
            },
            "recreate" => StrategyKind::Recreate { page: Page::default() },
            _ => return None,
        })
    }

    fn deploy(
        self,
        world: &mut World,
        app: &AppName,
        serial: &mut u64,
        kind: StrategyKind,
        behaviour: Behaviour,
    ) {
        *serial += 1;
        let mut settings = spec(app);
        if self.what == "deploy" && matches!(kind, StrategyKind::Rolling { .. }) {
            // With four replicas, the first batch leaves enough of the old release for another one to come
            // in.
            settings.run.replicas = 4;
        }
        settings.strategy.kind = kind;
        settings.strategy.standby = Standby::Keep;
        settings.strategy.watch = if self.place.1 == "reverting" { LONG_WATCH } else { WATCH };
        let release = release(settings, &format!("v{serial}"), *serial);
        world.hosts.behaviours.extend(release.content.map(|content| (content, behaviour)));
        world.ask(app, Ask::Deploy { release: Box::new(release), replace: true }, None);
        world.run_for(30);
    }

    fn strike(self, world: &mut World, app: &AppName, serial: &mut u64) {
        let view = world.views.get(app).cloned();
        let live = view.as_ref().and_then(|view| view.live.as_ref()).map(|arm| arm.release);
        let ask = match self.what {
            "crash" => return world.crash(true, 700),
            "reboot" => return world.reboot(),
            "dead-host" => {
                let remote = world.hosts.remote();
                let host = remote.first().copied().unwrap_or(HostNo(0));
                return world.kill_host(host, 3_000);
            }
            "cut-link" => {
                let lasts = world.rng.between(1_000, 90_000);
                return world.cut_link(HostNo(1), lasts);
            }
            "cut-all" => {
                let lasts = world.rng.between(1_000, 40_000);
                return world.cut_all_links(lasts);
            }
            "dead-proxy" => return world.kill_proxy(1, 3_000),
            "cut-proxy" => {
                let lasts = world.rng.between(1_000, 90_000);
                return world.cut_proxy(1, lasts);
            }
            "kill" => {
                let first = world.hosts.alive().find(|id| id.app == *app).cloned();
                return first.iter().for_each(|id| world.kill(id));
            }
            "disk-full" => {
                world.disk.full = true;
                Ask::Maintenance { on: Some(maintenance()) }
            }
            "lost-append" | "fenced" => {
                world.disk.next = Some(match (self.what, *serial % 2) {
                    ("fenced", _) => Loss::Fenced,
                    (_, 0) => Loss::There,
                    (_, _) => Loss::NotThere,
                });
                Ask::Maintenance { on: Some(maintenance()) }
            }
            "deploy" => {
                let same = self.kind().filter(|_| self.place.0 == "recreate");
                let kind = same.unwrap_or(StrategyKind::BlueGreen { switch: Switch::Auto });
                return self.deploy(world, app, serial, kind, Behaviour::Good(100));
            }
            "rollback" => Ask::Rollback { to: None },
            "rollback-to" => {
                // During a rollout, the only choice is the release it came from. Otherwise any release that
                // is not live will do.
                let from = view.filter(|view| view.rollout.is_some()).and(live);
                let under_way =
                    !matches!(self.place.1, "idle" | "settling") && self.place.0 != "restart";
                let switched = matches!(self.place.1, "watching" | "switching");
                let to = match (under_way, switched) {
                    (true, true) => ReleaseNo(2),
                    (true, false) => from.unwrap_or(ReleaseNo(2)),
                    (false, _) => ReleaseNo(1),
                };
                Ask::Rollback { to: Some(to) }
            }
            "promote" => Ask::Promote(Promote::Step),
            "promote-full" => Ask::Promote(Promote::Full),
            "pause" => Ask::Pause,
            "resume" => {
                if matches!(self.place.1, "starting" | "ready" | "holding") {
                    world.ask(app, Ask::Pause, None);
                    world.run_for(40);
                }
                Ask::Resume
            }
            "scale" => Ask::Scale { replicas: 3 },
            "sync" => Ask::Sync,
            "maintenance" => Ask::Maintenance { on: Some(maintenance()) },
            "abort" => Ask::Abort,
            "restart" => Ask::Restart,
            "work" => Ask::Work(Box::new(task("report", Some(2_000), true))),
            _ => Ask::Remove { with_state: false },
        };
        world.ask(app, ask, None);
    }
}

fn maintenance() -> Maintenance {
    Maintenance { page: Page::default(), hold: Millis(0), allow: Vec::new() }
}

/// Runs until the app is there. Returns whether it got there.
fn until(world: &mut World, app: &AppName, there: Place) -> bool {
    let until = world.now + PATIENCE;
    while world.now < until && world.violation().is_none() {
        if world.views.get(app).is_some_and(|view| place(view) == there) {
            return true;
        }
        world.run_for(1);
    }
    false
}
