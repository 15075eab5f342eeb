//! Scenarios by hand: the simulated world without chance, and a transcript of announced events.

use model::{AppName, AppSpec, ArmView, Health, InstanceView};
use rollout::{Ask, FleetAsk, NewRelease};

use crate::apps::{Behaviour, release, spec};
use crate::host::{Pace, Process};
use crate::hosts::{HostNo, Hosts};
use crate::world::World;

/// A scenario of one app, `web`.
#[derive(Debug)]
pub struct Script {
    /// The world of the scenario.
    pub world: World,
    app: AppName,
    deployed: u64,
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// Returns a world without deployed apps.
    pub fn new() -> Self {
        Self::with_hosts(&[Pace::default()])
    }

    /// Returns a world with a machine for each of `paces` and without deployed apps.
    pub fn with_hosts(paces: &[Pace]) -> Self {
        Self::of(Hosts::new(paces))
    }

    /// Returns a world in which each machine is a host of its own, and without deployed apps.
    pub fn with_fleet(paces: &[Pace]) -> Self {
        Self::of(Hosts::apart(paces))
    }

    /// Returns a world of these machines without deployed apps.
    pub fn of(hosts: Hosts) -> Self {
        Self::in_world(World::of(1, hosts, None))
    }

    /// Returns a scenario in this world.
    pub fn in_world(world: World) -> Self {
        let app: AppName = "web".parse().expect("it is valid");
        Self { world, app, deployed: 0 }
    }

    /// Deploys a release with this behaviour.
    pub fn deploy(&mut self, label: &str, behaviour: Behaviour) -> &mut Self {
        self.deploy_with(label, behaviour, false, |_| {})
    }

    /// Deploys a release with this behaviour and changed settings.
    pub fn deploy_with(
        &mut self,
        label: &str,
        behaviour: Behaviour,
        replace: bool,
        change: impl FnOnce(&mut AppSpec),
    ) -> &mut Self {
        self.deployed += 1;
        let release = self.release(label, self.deployed, change);
        self.world.hosts.behaviours.extend(release.content.map(|content| (content, behaviour)));
        self.ask(Ask::Deploy { release: Box::new(release), replace })
    }

    /// Deploys the content of an earlier deploy again. Deploys are numbered from 1 on.
    pub fn deploy_again(
        &mut self,
        label: &str,
        number: u64,
        replace: bool,
        change: impl FnOnce(&mut AppSpec),
    ) -> &mut Self {
        let question = self.question(label, number, replace, change);
        self.ask(question)
    }

    /// Returns the command that deploys the content with that number, for tests that send it themselves.
    pub fn question(
        &self,
        label: &str,
        number: u64,
        replace: bool,
        change: impl FnOnce(&mut AppSpec),
    ) -> Ask {
        Ask::Deploy { release: Box::new(self.release(label, number, change)), replace }
    }

    fn release(&self, label: &str, number: u64, change: impl FnOnce(&mut AppSpec)) -> NewRelease {
        let mut spec = spec(&self.app);
        change(&mut spec);
        release(spec, label, number)
    }

    /// Sends a command and writes the answer to the transcript. A dry run at that time must give an equal
    /// answer.
    pub fn ask(&mut self, ask: Ask) -> &mut Self {
        let app = self.app.clone();
        let foretold = self.world.dry_run(&app, ask.clone(), None);
        let ticket = self.world.ask(&app, ask, None);
        for _ in 0..1_000 {
            self.world.run_for(1);
            if let Some(answer) = self.world.answers.remove(&ticket) {
                assert_eq!(self.world.answers.remove(&foretold).as_ref(), Some(&answer));
                match answer {
                    Ok(answer) => self.say(&format!("> {}", answer.note)),
                    Err(refusal) => {
                        self.say(&format!("> {}", refusal.message));
                        self.say(&format!("> hint: {}", refusal.hint.unwrap_or_default()));
                    }
                }
                break;
            }
        }
        self
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: u64) -> &mut Self {
        self.world.run_for(seconds * 1_000);
        self
    }

    /// Lets time pass until the transcript contains this text, for a minute at most.
    pub fn wait_for(&mut self, text: &str) -> &mut Self {
        let is_said = |script: &Self| script.world.transcript.iter().any(|it| it.contains(text));
        let until = self.world.now + 60_000;
        while self.world.now < until && !is_said(self) {
            self.world.run_for(1);
        }
        self
    }

    /// Writes the view of the app as a line of the transcript.
    pub fn look(&mut self) -> &mut Self {
        let Some(view) = self.world.views.get(&self.app).cloned() else {
            self.say("= there is no such app");
            return self;
        };
        let arm = |arm: &Option<model::ArmView>| {
            arm.as_ref().map_or("none".into(), |arm| format!("{} {}", arm.label, arm.share))
        };
        let rollback = match &view.rollback {
            model::Readiness::Ready { label, without, .. } => {
                let without: Vec<&str> = without.iter().map(model::HostId::as_str).collect();
                match without[..] {
                    [] => format!("ready, to {label}"),
                    [..] => format!("ready, to {label}, without {}", without.join(", ")),
                }
            }
            model::Readiness::NotReady(why) => format!("no, {why}"),
        };
        let (live, standby, candidate) =
            (arm(&view.live), arm(&view.standby), arm(&view.candidate));
        self.say(&format!("= live {live}, standby {standby}, candidate {candidate}"));
        self.say(&format!("= rollback: {rollback}"));
        let reasons = view.rollout.iter().filter_map(|rollout| rollout.waiting.clone());
        for reason in reasons.chain(view.waiting.clone()) {
            self.say(&format!("= waiting for {}", reason.waiting));
        }
        self
    }

    /// Changes how new instances of an earlier deploy behave. Deploys are numbered from 1 on.
    pub fn behave(&mut self, deploy: u64, behaviour: Behaviour) -> &mut Self {
        self.say(&format!("! the release of deploy {deploy} now behaves as {behaviour:?}"));
        let content = release(spec(&self.app), "any", deploy).content;
        self.world.hosts.behaviours.extend(content.map(|content| (content, behaviour)));
        self
    }

    /// Kills one instance of the live release.
    pub fn kill_live(&mut self) -> &mut Self {
        let live = self.world.views.get(&self.app).and_then(|view| view.live.clone());
        if let Some(instance) = live.and_then(|live| live.instances.first().cloned()) {
            self.say(&format!("! {} is killed", instance.id));
            self.world.kill(&instance.id);
        }
        self
    }

    /// Kills all instances of the candidate.
    pub fn kill_candidate(&mut self) -> &mut Self {
        let candidate = self.world.views.get(&self.app).and_then(|view| view.candidate.clone());
        for instance in candidate.into_iter().flat_map(|candidate| candidate.instances) {
            self.say(&format!("! {} is killed", instance.id));
            self.world.kill(&instance.id);
        }
        self
    }

    /// Lets another program listen at the addresses of the standby's instances for `seconds`, and answer
    /// their probes.
    pub fn take_standby(&mut self, seconds: u64) -> &mut Self {
        let standby = self.world.views.get(&self.app).and_then(|view| view.standby.clone());
        let until = self.world.now + seconds * 1_000;
        let taken = self.change(standby, |_| true, |process| process.taken_until = until);
        self.say(&format!("! somebody else listens at the addresses of {taken} instances"));
        self
    }

    /// Lets the live release's instances not answer their probes for `seconds`.
    pub fn silence_live(&mut self, seconds: u64) -> &mut Self {
        let live = self.world.views.get(&self.app).and_then(|view| view.live.clone());
        let until = self.world.now + seconds * 1_000;
        let silent = self.change(live, |_| true, |process| process.silent_until = until);
        self.say(&format!("! {silent} instances give no answer to their probes"));
        self
    }

    /// Lets all healthy instances of the live release hang: they keep running and fail every later probe.
    pub fn hang_live(&mut self) -> &mut Self {
        let live = self.world.views.get(&self.app).and_then(|view| view.live.clone());
        let hung = self.change(live, |it| it.health == Health::Up, Process::hang);
        self.say(&format!("! {hung} instances hang for ever"));
        self
    }

    /// Changes the processes of selected instances of an arm. Returns their number.
    fn change(
        &mut self,
        arm: Option<ArmView>,
        is_meant: impl Fn(&InstanceView) -> bool,
        change: impl Fn(&mut Process),
    ) -> usize {
        let instances = arm.into_iter().flat_map(|arm| arm.instances);
        let ids: Vec<_> = instances.filter(is_meant).map(|it| it.id).collect();
        let processes = self.world.hosts.processes_mut();
        processes.filter(|(id, _)| ids.contains(id)).for_each(|(_, process)| change(process));
        ids.len()
    }

    /// Sends this many requests at once, each of which takes `seconds`.
    pub fn requests(&mut self, count: u32, seconds: u64) -> &mut Self {
        self.say(&format!("! {count} requests of {seconds} s each"));
        for _ in 0..count {
            let app = self.app.clone();
            self.world.request(&app, seconds * 1_000);
        }
        self
    }

    /// Kills a machine with all its processes, and brings it back after `back_in` milliseconds.
    pub fn kill_host(&mut self, host: HostNo, back_in: u64) -> &mut Self {
        self.say(&format!("! machine {} is dead for {back_in} ms", host.0));
        self.world.kill_host(host, back_in);
        self
    }

    /// Gives a command about the fleet, and writes the answer to the transcript.
    pub fn ask_fleet(&mut self, ask: FleetAsk) -> &mut Self {
        let ticket = self.world.ask_fleet(ask);
        self.world.run_for(20);
        match self.world.answers.remove(&ticket) {
            Some(Ok(answer)) => self.say(&format!("> {}", answer.note)),
            Some(Err(refusal)) => self.say(&format!("> {}", refusal.message)),
            None => self.say("> no answer"),
        }
        self
    }

    /// Cuts the connection to a host for `seconds`. The host itself runs on.
    pub fn cut(&mut self, host: HostNo, seconds: u64) -> &mut Self {
        let name = self.world.hosts.name(host);
        self.say(&format!("! the connection to {name} is cut for {seconds} s"));
        self.world.cut_link(host, seconds * 1_000);
        self
    }

    /// Adds a proxy on a machine of its own, `lb-1`.
    pub fn add_proxy(&mut self) -> &mut Self {
        self.say("! lb-1 joins");
        self.world.add_proxy();
        self
    }

    /// Cuts the connection to `lb-1` for this many seconds. Its users reach it all the same.
    pub fn cut_proxy(&mut self, seconds: u64) -> &mut Self {
        self.say(&format!("! the connection to lb-1 is cut for {seconds} s"));
        self.world.cut_proxy(1, seconds * 1_000);
        self
    }

    /// Cuts the connections to all other hosts for `seconds`.
    pub fn cut_all(&mut self, seconds: u64) -> &mut Self {
        self.say(&format!("! the server is cut off for {seconds} s"));
        self.world.cut_all_links(seconds * 1_000);
        self
    }

    /// Kills the server, which comes back two seconds later.
    pub fn crash(&mut self) -> &mut Self {
        self.say("! the server is killed");
        self.world.crash(true, 2_000);
        self
    }

    /// Reboots the machine.
    pub fn reboot(&mut self) -> &mut Self {
        self.say("! the machine is rebooted");
        self.world.reboot();
        self
    }

    /// Returns the transcript so far. Fails if an invariant was violated.
    pub fn transcript(&self) -> String {
        assert_eq!(self.world.violation(), None);
        self.world.transcript.join("\n")
    }

    fn say(&mut self, line: &str) {
        let now = self.world.now;
        let line = format!("{:>4}.{:03} {line}", now / 1_000, now % 1_000);
        self.world.transcript.push(line);
    }
}
