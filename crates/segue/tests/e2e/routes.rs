//! Two apps behind one address: each gets its own requests, and nobody the other's.

use std::fs;

use crate::app;
use crate::load::ask;
use crate::world::{Said, World};

/// Writes a second app beside the first and deploys it.
fn deploy(world: &World, route: &str) -> Said {
    let first = fs::read_to_string(world.app_dir().join("segue.toml")).unwrap();
    let second = first.replace("app = \"web\"", "app = \"api\"") + route;
    fs::write(world.app_dir().join("api.toml"), second).unwrap();
    let file = ["deploy", "-f", "api.toml", "--release", "a1"];
    world.segue(&[&file[..], &["--env", "VERSION=api", "--env", "MODE=good"]].concat())
}

#[test]
fn an_app_gets_its_path_and_is_refused_that_of_another() {
    let world = World::with(&app::watch("300ms"), &[]);
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let said = deploy(&world, "");
    let refusal = "cannot deploy api: every host belongs to web (release v1)";
    assert!(said.code == Some(1) && said.stderr.contains(refusal), "{said:?}");
    assert!(said.stderr.contains("hint: choose another host or path"), "{said:?}");
    let said = deploy(&world, "[route]\npath = \"/api\"\nstrip_prefix = true\n");
    assert_eq!(said.code, Some(0), "{said:?}");
    let mut connection = None;
    for (path, version) in [("/", "v1"), ("/api", "api"), ("/apis", "v1"), ("/api/x", "api")] {
        assert_eq!(ask(&mut connection, world.http, path).as_deref(), Ok(version), "{path}");
    }
    assert_eq!(world.segue(&["remove", "api", "--yes"]).code, Some(0));
    world.until("its path is the other's again", |_| {
        ask(&mut None, world.http, "/api").as_deref() == Ok("v1")
    });
}
