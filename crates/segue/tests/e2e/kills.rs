//! `kill -9` of the server at each phase of each strategy: what runs is adopted, the same rollout goes on
//! to its end, and nothing is left over.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::load::ask;
use crate::world::{World, pids};

/// A rollout that is killed again and again.
struct Story {
    world: World,
    rollout: Value,
    /// Process ids by instance, as they were first seen.
    processes: BTreeMap<String, u64>,
}

impl Story {
    /// v1 is live, and v2 on its way in: each of its instances takes three seconds to start.
    fn of(strategy: &str) -> Self {
        Self::after("good", strategy)
    }

    /// Makes a world whose v1 behaves as `mode` says.
    fn after(mode: &str, strategy: &str) -> Self {
        let world = World::with(strategy, &[]);
        let said = world.deploy("v1", mode);
        assert_eq!(said.code, Some(0), "{said:?}");
        let args = ["deploy", "--detach", "--release", "v2"];
        let env = ["--env", "VERSION=v2", "--env", "MODE=slow"];
        let said = world.segue(&[&args[..], &env].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        let rollout = world.status()["rollout"]["id"].clone();
        assert!(!rollout.is_null(), "it is under way");
        Self { world, rollout, processes: BTreeMap::new() }
    }

    /// Waits until the rollout is in that phase and as wanted, kills the server there and starts it again.
    fn kill_in(&mut self, phase: &str, wanted: impl Fn(&Value) -> bool) -> &mut Self {
        let status = self.world.until(phase, |status| {
            assert!(!status["rollout"].is_null(), "it has ended and was never {phase}: {status:#}");
            status["rollout"]["phase"] == phase && wanted(status)
        });
        self.look(&status);
        self.world.kill_server();
        self.world.serve(&[]);
        let status = self.world.status();
        let goes_on = status["rollout"]["id"] == self.rollout || status["rollout"].is_null();
        assert!(goes_on, "another rollout: {status:#}");
        self
    }

    /// An instance keeps its process, whoever starts the server.
    fn look(&mut self, status: &Value) {
        for arm in ["live", "standby", "candidate"] {
            for instance in status[arm]["instances"].as_array().into_iter().flatten() {
                let id = instance["id"].as_str().unwrap().to_owned();
                let Some(pid) = instance["pid"].as_u64() else { continue };
                assert_eq!(*self.processes.entry(id).or_insert(pid), pid, "{status:#}");
            }
        }
    }

    /// v2 is live and whole, with every process that it was ever seen with, and nothing else runs.
    fn ends_with_v2(mut self) {
        let status = self.world.at_rest();
        self.look(&status);
        assert_eq!(status["live"]["label"], "v2", "{status:#}");
        let said = self.world.segue(&["receipt", "web", "--json"]);
        let last = said.receipt();
        assert_eq!((&last["rollout"], &last["outcome"]), (&self.rollout, &"completed".into()));
        assert_eq!(ask(&mut None, self.world.http, "/"), Ok("v2".into()));
        let shown = [pids(&status, "live"), pids(&status, "standby")].concat();
        let running = self.world.processes();
        assert_eq!(running.len(), 2 * shown.len(), "each instance and its shim, and nothing else");
        // Two of each at the most: none was started a second time.
        assert!(self.processes.len() <= 4, "{:?}", self.processes);
    }
}

fn anyhow(_: &Value) -> bool {
    true
}

/// One instance of the candidate has a process already.
fn has_begun(status: &Value) -> bool {
    !pids(status, "candidate").is_empty()
}

fn at(share: f64) -> impl Fn(&Value) -> bool {
    move |status| status["candidate"]["share"] == share
}

#[test]
fn a_canary_goes_on_after_a_kill_at_each_of_its_steps() {
    let mut story = Story::of(
        "[strategy]\nkind = \"canary\"\nsteps = [{ share = \"10%\", hold = \"3s\" }, \
         { share = \"50%\", gate = \"manual\" }]\nwatch = \"3s\"\n",
    );
    story.kill_in("starting", has_begun).kill_in("holding", at(0.1)).kill_in("holding", at(0.5));
    story.world.until("in the gate", at(0.5));
    assert_eq!(story.world.segue(&["promote", "--detach", "web"]).code, Some(0));
    story.kill_in("starting", at(0.5)).kill_in("watching", anyhow);
    story.ends_with_v2();
}

#[test]
fn a_canary_is_taken_back_after_a_kill_in_its_gate() {
    let mut story = Story::of(
        "[strategy]\nkind = \"canary\"\nsteps = [{ share = \"50%\", gate = \"manual\" }]\n",
    );
    let before = pids(&story.world.status(), "live");
    story.kill_in("holding", at(0.5));
    let said = story.world.segue(&["abort", "web"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let status = story.world.at_rest();
    assert_eq!((&status["live"]["label"], pids(&status, "live")), (&"v1".into(), before));
    assert_eq!(story.world.processes().len(), 4, "two instances of v1, each with its shim");
}

#[test]
fn rolling_in_place_goes_on_after_a_kill_in_each_batch() {
    let mut story = Story::of(
        "[strategy]\nkind = \"rolling\"\nbatch = 1\nsurge = false\npause = \"3s\"\nwatch = \"3s\"\n",
    );
    story.kill_in("starting", has_begun).kill_in("holding", at(0.5)).kill_in("watching", anyhow);
    story.ends_with_v2();
}

#[test]
fn rolling_with_surge_goes_on_after_a_kill_in_each_batch() {
    let mut story = Story::of(
        "[strategy]\nkind = \"rolling\"\nbatch = 1\nsurge = true\npause = \"3s\"\nwatch = \"3s\"\n",
    );
    story.kill_in("starting", has_begun).kill_in("holding", at(0.5)).kill_in("watching", anyhow);
    story.ends_with_v2();
}

#[test]
fn recreate_goes_on_after_a_kill_while_nothing_runs_and_while_it_is_watched() {
    let mut story = Story::of("[strategy]\nkind = \"recreate\"\nwatch = \"3s\"\n");
    story.kill_in("starting", |status| status["maintenance"] == true && has_begun(status));
    story.kill_in("watching", |status| status["maintenance"] == false);
    story.ends_with_v2();
}

#[test]
fn a_recreate_that_is_taken_back_goes_on_after_a_kill() {
    let mut story = Story::after("slow", "[strategy]\nkind = \"recreate\"\nwatch = \"5s\"\n");
    story.world.until("watching", |status| status["rollout"]["phase"] == "watching");
    assert_eq!(story.world.segue(&["rollback", "--detach", "web"]).code, Some(0));
    story.kill_in("reverting", |status| status["maintenance"] == true);
    let status = story.world.at_rest();
    assert_eq!((&status["live"]["label"], &status["maintenance"]), (&"v1".into(), &false.into()));
    assert_eq!(ask(&mut None, story.world.http, "/"), Ok("v1".into()));
    assert_eq!(story.world.processes().len(), 4, "two instances of v1, each with its shim");
}
