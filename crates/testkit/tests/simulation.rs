//! The net: a thousand worlds under chaos.

use testkit::{Coverage, run_seed};

const SEEDS: u64 = 1_000;
const STEPS: u64 = 1_000;

#[test]
fn in_a_thousand_worlds_every_invariant_holds_and_everything_is_reached() {
    let mut coverage = Coverage::default();
    for seed in 0..SEEDS {
        let outcome = run_seed(seed, STEPS, None);
        let replay = format!("replay: cargo xtask sim --seeds 1 --from {seed} --steps {STEPS}");
        assert_eq!(outcome.violation, None, "{replay}");
        assert!(outcome.steps >= STEPS, "seed {seed} ended after {} steps", outcome.steps);
        coverage.add(&outcome.coverage);
    }
    assert_eq!(coverage.missing(), Vec::<String>::new());
}

#[test]
fn the_same_seed_is_the_same_world() {
    assert_eq!(run_seed(7, STEPS, None).transcript, run_seed(7, STEPS, None).transcript);
}

/// A journal whose records were shuffled is refused fact by fact, and no fact is folded by halves.
#[test]
fn a_fact_out_of_order_changes_nothing() {
    let mut refused = 0;
    for seed in 0..20 {
        let records = run_seed(seed, STEPS, None).records;
        let facts: Vec<_> = records.iter().flat_map(control::Record::facts).collect();
        let name = "web".parse().expect("it is valid");
        let mut app = rollout::App::new(name);
        for step in 0..facts.len() {
            let fact = facts[(step * 7919 + 13) % facts.len()];
            let before = app.clone();
            if rollout::apply(&mut app, fact).is_err() {
                refused += 1;
                assert_eq!(app, before, "{fact:?}");
            }
        }
    }
    assert!(refused > 1_000, "only {refused} were refused");
}
