//! Runs control for as long as it is wanted. An engine that has stepped down is followed by another one,
//! which is recovered from the log as after a start.

use std::collections::BTreeSet;
use std::time::Duration;

use model::InstanceId;

use crate::inbox::Mail;
use crate::runner::{Ended, Runner};

/// Between two attempts to begin again; each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Runs what `start` gives, until somebody stops it. `start` opens the log and recovers an engine: once at
/// first, and again after each time that the engine has stepped down, until it succeeds. It is given the
/// instances at whose address the engine before has found somebody else. Tells `begun` once
/// that everything in the log has been shown, or why the first start has failed; then it is over.
pub fn lead(
    mail: &Mail,
    mut start: impl FnMut(&BTreeSet<InstanceId>) -> Result<Runner, String>,
    begun: impl FnOnce(Result<(), String>),
) {
    let runner = match start(&BTreeSet::new()) {
        Ok(runner) => runner,
        Err(why) => return begun(Err(why)),
    };
    let mut ended = runner.run(mail, || begun(Ok(())));
    loop {
        let foreign = match ended {
            Ended::Stopped => return,
            Ended::Defect(defect) => {
                tracing::error!("a defect of segue: nothing can be changed any more: {defect}");
                return;
            }
            Ended::SteppedDown { lost, foreign } => {
                tracing::warn!("control begins again from the journal: {lost}");
                foreign
            }
        };
        let Some(runner) = start_again(mail, &foreign, &mut start) else { return };
        ended = runner.run(mail, || mail.set_fault(None));
    }
}

/// Tries until it succeeds; `None` if nobody wants it any more.
fn start_again(
    mail: &Mail,
    foreign: &BTreeSet<InstanceId>,
    start: &mut impl FnMut(&BTreeSet<InstanceId>) -> Result<Runner, String>,
) -> Option<Runner> {
    let mut pause = FIRST_PAUSE;
    loop {
        match start(foreign) {
            Ok(runner) => return Some(runner),
            Err(why) => {
                tracing::error!("nothing can be changed, traffic goes on: {why}");
                if !mail.refuse_for(pause, &why) {
                    return None;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
