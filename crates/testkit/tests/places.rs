//! Two apps that want the same requests: who comes second is refused, before anything starts.

use std::sync::Arc;

use model::{AppName, ReleaseNo, Standby};
use rollout::Ask;
use testkit::{Behaviour, World, release, spec};

struct Two {
    world: World,
    deployed: u64,
}

impl Two {
    fn new() -> Self {
        Self { world: World::new(1, None), deployed: 0 }
    }

    fn name(app: &str) -> AppName {
        app.parse().expect("it is valid")
    }

    fn release(&mut self, app: &str, host: &str, standby: Standby) -> Ask {
        let mut spec = spec(&Self::name(app));
        spec.route.hosts = vec![host.to_owned()];
        spec.strategy.standby = standby;
        self.deployed += 1;
        let release = release(spec, &format!("v{}", self.deployed), self.deployed);
        let content = release.content.expect("it has files");
        self.world.hosts.behaviours.insert(content, Behaviour::Good(300));
        Ask::Deploy { release: Box::new(release), replace: false }
    }

    /// Asks, waits until all is at rest, and says what was answered.
    fn ask(&mut self, app: &str, ask: Ask) -> String {
        let ticket = self.world.ask(&Self::name(app), ask, None);
        self.world.run_for(60_000);
        self.answer(ticket)
    }

    fn answer(&mut self, ticket: control::Ticket) -> String {
        match self.world.answers.remove(&ticket).expect("an answer") {
            Ok(answer) => answer.note,
            Err(refusal) => {
                format!("{}\nhint: {}", refusal.message, refusal.hint.unwrap_or_default())
            }
        }
    }

    fn deploy(&mut self, app: &str, host: &str) -> String {
        let release = self.release(app, host, Standby::Keep);
        self.ask(app, release)
    }

    fn live_host(&self, app: &str) -> Option<String> {
        let view: Option<&Arc<model::AppView>> = self.world.views.get(&Self::name(app));
        let view = view?;
        let live = view.live.as_ref()?.release;
        let release = view.releases.iter().find(|release| release.no == live)?;
        release.spec.route.hosts.first().cloned()
    }
}

#[test]
fn a_place_belongs_to_one_app_and_the_other_is_refused_by_name() {
    let mut two = Two::new();
    assert_eq!(two.deploy("web", "a.example"), "v1 is release #1");
    assert_eq!(
        two.deploy("api", "a.example"),
        "cannot deploy api: a.example belongs to web (release v1)\n\
         hint: choose another host or path, or deploy web without it first"
    );
    assert_eq!(two.live_host("api"), None, "nothing has started");
    assert_eq!(two.deploy("api", "b.example"), "v3 is release #1");
    assert_eq!(two.deploy("web", "a.example"), "v4 is release #2", "its own place is no conflict");
}

/// A rollback to a warm standby is one switch, which nothing may refuse: so it keeps its place.
#[test]
fn a_standby_keeps_its_place_until_it_is_let_go() {
    let mut two = Two::new();
    two.deploy("web", "a.example");
    two.deploy("web", "b.example");
    let refused = "cannot deploy api: a.example belongs to web (release v1)\n\
                   hint: v1 is not live, but may be: it is free once web keeps v1 no more";
    assert_eq!(two.deploy("api", "a.example"), refused);
    assert_eq!(two.ask("web", Ask::Rollback { to: None }), "switching back to v1");
    assert_eq!(two.live_host("web").as_deref(), Some("a.example"));
    let last = two.release("web", "c.example", Standby::None);
    two.ask("web", last);
    assert_eq!(two.deploy("api", "a.example"), "v5 is release #1");
    assert_eq!(
        two.ask("web", Ask::Rollback { to: Some(ReleaseNo(1)) }),
        "cannot roll back web: a.example belongs to api (release v5)\n\
         hint: choose another host or path, or deploy api without it first"
    );
    assert_eq!(two.live_host("web").as_deref(), Some("c.example"));
}

/// Both wait while the journal writes another's record, so that both are answered in one step.
#[test]
fn of_two_that_ask_at_once_the_first_gets_the_place() {
    let mut two = Two::new();
    let mut ask = |app, host| {
        let release = two.release(app, host, Standby::Keep);
        two.world.ask(&Two::name(app), release, None)
    };
    ask("other", "b.example");
    let (first, second) = (ask("web", "a.example"), ask("api", "a.example"));
    two.world.run_for(60_000);
    assert_eq!(two.answer(first), "v2 is release #1");
    assert!(two.answer(second).contains("a.example belongs to web (release v2)"));
    assert_eq!(two.live_host("web").as_deref(), Some("a.example"));
    assert_eq!(two.live_host("api"), None);
}

#[test]
fn a_place_is_free_again_when_its_app_is_removed() {
    let mut two = Two::new();
    two.deploy("web", "a.example");
    two.ask("web", Ask::Remove { with_state: false });
    assert_eq!(two.deploy("api", "a.example"), "v2 is release #1");
}
