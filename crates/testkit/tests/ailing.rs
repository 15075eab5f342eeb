//! Instances that are not well, or not themselves, as stories in virtual time.

use rollout::Ask;
use testkit::{Behaviour, Script};

const GOOD: Behaviour = Behaviour::Good(300);

fn rollback() -> Ask {
    Ask::Rollback { to: None }
}

#[test]
fn a_standby_whose_ports_somebody_else_has_is_no_way_back() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(15).look();
    script.take_standby(5).wait(2).look().ask(rollback()).wait(8).look().ask(rollback());
    insta::assert_snapshot!(script.transcript());
}
