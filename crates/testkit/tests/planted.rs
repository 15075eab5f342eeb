//! The net holds: bugs planted in the core, in the journal and in the start of control are caught. A bug
//! of the core is there for the whole process, so no other test may run in this one.

use rollout::Bug;
use testkit::{Sabotage, run_seed};

const SEEDS: u64 = 200;
const STEPS: u64 = 1_000;

#[test]
fn every_planted_bug_is_caught_by_the_invariant_that_it_breaks() {
    let mut wrong = Vec::new();
    for sabotage in Sabotage::all() {
        let expected = match sabotage {
            Sabotage::Core(Bug::RoutesToDraining) => "I1",
            Sabotage::Core(Bug::IgnoresInFlight | Bug::TakesUnknownForIdle) => "I2",
            Sabotage::Core(Bug::LeavesAtOnce | Bug::ForgetsAbsent) => "I2",
            Sabotage::Core(Bug::SwitchesShort | Bug::ForgetsFloor) => "I3",
            Sabotage::Core(Bug::RepeatsNumbers | Bug::TrustsLostAppend) => "I4",
            Sabotage::LoseCommit => "I4",
            Sabotage::Core(Bug::CommitsEarly) | Sabotage::ReuseTerm => "I5",
            Sabotage::Core(Bug::LeasesTwice) => "I6",
            Sabotage::Core(Bug::ForgetsWork) => "work",
            // Nobody notices that an instance has ended, so no other takes its place.
            Sabotage::Core(Bug::TrustsSilence) => "end",
            Sabotage::Core(Bug::RollsBackInTwo) => "I7",
            Sabotage::Core(Bug::ForgetsShare) => "I8",
            Sabotage::Core(Bug::LeavesFiles | Bug::EndsWorkEarly) => "I9",
            Sabotage::Core(Bug::NeverRepeatsKeep | Bug::RemembersTold) => "I9",
            Sabotage::Core(Bug::RestsTwice | Bug::AsksAtOnce) => "I9",
            Sabotage::Core(Bug::ForgetsNoProxy) => "no-proxy",
            Sabotage::Core(Bug::ForgetsReach) => "unreached",
            Sabotage::Core(Bug::SendsEverything) => "elsewhere",
            Sabotage::Core(Bug::RunsBeside | Bug::StopsUnderProxies) => "recreate",
            // What an old report says is counted from there on, too.
            Sabotage::Core(Bug::BelievesLateReports | Bug::CountsTwice) => "counts",
            Sabotage::ScrapeTakesCounts => "counts",
            Sabotage::Core(Bug::ForgetsNewcomers | Bug::CountsRemovedApps) => "names",
            Sabotage::Core(Bug::ForgetsValues) => "values",
            Sabotage::TellsValues => "secret",
            Sabotage::Core(Bug::PlacesOnLostHosts) => "reach",
            Sabotage::Core(Bug::PlacesOnCordonedHosts) => "duty",
            Sabotage::Core(Bug::TakesLostForGone | Bug::LeavesProcesses) => "gone",
            Sabotage::Core(Bug::ForgetsOwed) => "owed",
            Sabotage::Core(Bug::TrustsOwnNetwork) => "blind",
            Sabotage::Core(Bug::NeverSpendsBudget | Bug::ForgetsLostHosts) => "budget",
            Sabotage::Core(Bug::CountsHostTwice | Bug::SpendsForLostBefore) => "budget",
            Sabotage::Core(Bug::PlacesOnHostsAside) => "budget",
            // The fact cannot follow.
            Sabotage::Core(Bug::SpendsOnTheWayBack) => "defect",
            Sabotage::Core(Bug::WatchesForever | Bug::ForgetsProxies | Bug::ReplacesOnlyOne) => {
                "end"
            }
        };
        // A bug may break others as well, in other worlds.
        let run = |seed| run_seed(seed, STEPS, Some(sabotage)).violation.map(|found| (seed, found));
        let found = (0..SEEDS).filter_map(run).find(|(_, found)| found.invariant == expected);
        println!("{sabotage:?}: {found:?}");
        if found.is_none() {
            wrong.push((sabotage, expected));
        }
    }
    assert_eq!(wrong, [], "what was planted, and how it should have been caught");
}
