//! Data folders that earlier versions wrote, as a machine leaves them behind that lost its power in
//! the middle of a canary. `tests/fixtures/make.sh` makes them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::load::ask;
use crate::world::World;

const FIXTURES: [&str; 2] = ["0.1.0-canary.tar.gz", "0.1.0-2026-11-canary.tar.gz"];

fn label<'a>(status: &'a Value, arm: &str) -> &'a str {
    status[arm]["label"].as_str().unwrap_or("none")
}

fn all_up(status: &Value, arm: &str) -> bool {
    let instances = status[arm]["instances"].as_array();
    instances.is_some_and(|all| all.iter().all(|one| one["health"] == "up"))
}

#[test]
fn a_data_folder_of_an_earlier_version_goes_on_where_it_was() {
    for fixture in FIXTURES {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
        let world = World::from_data(|data| {
            let into = data.parent().unwrap();
            let mut tar = Command::new("tar");
            // The owner is who runs the test, as with every folder that a server makes.
            let done =
                tar.arg("-xzf").arg(&file).arg("--no-same-owner").arg("-C").arg(into).status();
            assert!(done.unwrap().success(), "{fixture}");
        });
        // The rollout is where it was; its instances ended with the machine and are started again.
        let status = world.until("holding, with all instances", |status| {
            status["rollout"]["phase"] == "holding"
                && ["live", "candidate"].iter().all(|arm| all_up(status, arm))
        });
        let labels = ["live", "standby", "candidate"].map(|arm| label(&status, arm).to_owned());
        assert_eq!(labels, ["v2", "none", "v3"], "{fixture}: {status:#}");
        assert_eq!(status["candidate"]["share"], 0.2, "{fixture}");
        assert_eq!(status["rollout"]["id"], 4, "{fixture}");
        let releases = world.segue(&["releases", "web"]);
        assert!(releases.stdout.contains("broken"), "{fixture}: {releases:?}");
        let said = world.segue(&["promote", "web"]);
        assert_eq!(said.code, Some(0), "{fixture}: {said:?}");
        let status = world.at_rest();
        assert_eq!((label(&status, "live"), label(&status, "standby")), ("v3", "v2"), "{fixture}");
        assert_eq!(ask(&mut None, world.http, "/"), Ok("v3".into()), "{fixture}");
        // A job that is run again is of the release it was of, though its app file is not sent any more.
        // The first version stored the app file with the release; later archives have the app's folder.
        let stored = world.data().join("apps/web/releases/4");
        if stored.join("segue.toml").exists() {
            for name in ["app.py", "segue.toml"] {
                std::fs::copy(stored.join(name), world.app_dir().join(name)).unwrap();
            }
        }
        let again = ["deploy", "--release", "v3", "--env", "VERSION=v3"];
        let said = world.segue(&again);
        assert_eq!(said.code, Some(0), "{fixture}: {said:?}");
        assert!(said.stderr.contains("v3 is live already"), "{fixture}: {said:?}");
        // The way back is still one switch.
        let said = world.segue(&["rollback", "web"]);
        assert_eq!(said.code, Some(0), "{fixture}: {said:?}");
        assert_eq!(ask(&mut None, world.http, "/"), Ok("v2".into()), "{fixture}");
    }
}
