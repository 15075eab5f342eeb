//! Apps that listen on unix sockets: they need no port, and a host without a folder for sockets says so.

use std::collections::BTreeMap;

use model::{Generation, HostAbilities, Listen, SocketFolders, Timestamp};
use rollout::{App, Ask, Fact, Observed, Refusal, apply, ask, decide};
use testkit::{ONE_PROXY, local_host, release, spec};

const NOW: Timestamp = Timestamp(1_000_000_000);

/// What comes of a deploy on a host that has no port to give.
fn minted(listen: Listen, abilities: &HostAbilities) -> Result<Vec<String>, Refusal> {
    let name: model::AppName = "web".parse().expect("it is valid");
    let mut app = App::new(name.clone());
    let instances = BTreeMap::new();
    let seen = Observed {
        instances: &instances,
        acknowledged: 0,
        generation: Generation { term: 1, counter: 0 },
        acknowledged_at: NOW,
        spread: None,
        hosts: &local_host(abilities.clone()),
        suspicion: None,
        stood: model::Millis(0),
        recovered: Timestamp(0),
        counted: None,
        keep_releases: App::KEPT,
        minutes: &std::collections::VecDeque::new(),
        proxies: &ONE_PROXY,
    };
    let mut settings = spec(&name);
    settings.run.listen = listen;
    let release = Box::new(release(settings, "v1", 1));
    let accepted = ask(&app, &Ask::Deploy { release, replace: false }, None, &seen, NOW)?;
    accepted.facts.iter().for_each(|fact| apply(&mut app, fact).expect("it follows"));
    let facts = decide(&app, &seen, NOW).expect("it follows").facts;
    let minted = facts.iter().flat_map(Fact::minted);
    Ok(minted.map(|minted| format!("{} at {}", minted.number, minted.address)).collect())
}

fn folders(own: &str, obstacle: Option<&str>) -> HostAbilities {
    let obstacle = obstacle.map(str::to_owned);
    let sockets = SocketFolders::new(own.into(), "/run/segue-1".into(), obstacle);
    HostAbilities { sockets, ..HostAbilities::default() }
}

#[test]
fn they_need_no_port() {
    let near = folders("/var/lib/segue/sock", None);
    let own = |n| format!("{n} at unix:/var/lib/segue/sock/web-{n}/app.sock");
    assert_eq!(minted(Listen::Unix, &near), Ok(vec![own(1), own(2)]));
    assert_eq!(minted(Listen::Port, &near), Ok(vec![]), "it waits for ports");
    let far = folders(&"/far".repeat(30), None);
    let other = |n| format!("{n} at unix:/run/segue-1/web-{n}/app.sock");
    assert_eq!(minted(Listen::Unix, &far), Ok(vec![other(1), other(2)]));
}

#[test]
fn a_host_without_a_folder_for_them_refuses_them_and_nothing_else() {
    let none = folders(&"/far".repeat(30), Some("XDG_RUNTIME_DIR is not set"));
    assert_eq!(minted(Listen::Port, &none), Ok(vec![]));
    let refusal = minted(Listen::Unix, &none).expect_err("there is no folder");
    assert_eq!(refusal.message, "cannot deploy web: XDG_RUNTIME_DIR is not set");
    let hint = refusal.hint.expect("there is a way out");
    assert!(hint.starts_with("a data folder with a shorter path has room"), "{hint}");
}
