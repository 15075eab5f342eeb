//! Instances on unix sockets: all of a deployment's life without a lost request, and nothing left.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::app;
use crate::load::{Load, Seen, ask};
use crate::world::{World, pids};

/// The sockets of the live release's instances.
fn sockets(status: &Value) -> Vec<PathBuf> {
    let instances = status["live"]["instances"].as_array().cloned().unwrap_or_default();
    let address = |i: &Value| i["address"].as_str()?.strip_prefix("unix:").map(PathBuf::from);
    instances.iter().filter_map(address).collect()
}

fn deploy(world: &World, version: &str) {
    let said = world.deploy(version, "good");
    assert_eq!(said.code, Some(0), "{said:?}");
}

fn lost_nothing(seen: &[Seen]) {
    for Seen { answers, failures } in seen {
        assert_eq!(failures, &[""; 0]);
        assert!(!answers.is_empty());
    }
}

/// Deploys, a rollback, a server killed and started again, and the end of it all.
fn whole_life(mut world: World, env: &[(&str, String)], is_near: bool) {
    app::on_sockets(&world.app_dir());
    deploy(&world, "v1");
    let load = Load::start(world.http, 4);
    deploy(&world, "v2");
    let said = world.segue(&["rollback", "web"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let before = world.at_rest();
    lost_nothing(&load.stop());
    assert_eq!(before["live"]["label"], "v1");
    let live = sockets(&before);
    assert_eq!(live.len(), 2, "{before:#}");
    assert!(live.iter().all(|socket| socket.starts_with(world.data()) == is_near), "{live:?}");

    world.kill_server();
    world.serve(env);
    // The instances are those of before, and are asked at once.
    assert_eq!(ask(&mut None, world.http, "/"), Ok("v1".to_owned()));
    let load = Load::start(world.http, 4);
    let after = world.at_rest();
    assert_eq!((pids(&after, "live"), sockets(&after)), (pids(&before, "live"), live.clone()));
    deploy(&world, "v3");
    lost_nothing(&load.stop());

    let said = world.segue(&["remove", "web", "--yes"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(world.processes(), Vec::<u32>::new());
    let all = live[0].parent().and_then(Path::parent).unwrap();
    world.eventually("the folder of all sockets is gone", || !all.exists());
}

#[test]
fn an_app_on_unix_sockets_is_deployed_rolled_back_and_outlives_the_server() {
    whole_life(World::with(&app::watch("0s"), &[]), &[], true);
}

#[test]
fn a_long_data_folder_has_its_sockets_elsewhere() {
    // As root they are in /run.
    let dir = tempfile::tempdir().unwrap();
    let env = [("XDG_RUNTIME_DIR", dir.path().to_str().unwrap().to_owned())];
    whole_life(World::far_away(&app::watch("0s"), &env), &env, false);
}
