//! Runs control until it is stopped. If an engine steps down, another one is recovered from the log, as
//! after a start.

use std::collections::BTreeSet;
use std::time::Duration;

use model::InstanceId;

use crate::inbox::Mail;
use crate::runner::{Ended, Runner};

/// The first pause between two attempts to start again. Each later pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Runs the runners that `start` returns, until control is stopped. `start` opens the log and recovers
/// an engine. It is called once at first, and after each time that the engine has stepped down until it
/// succeeds. Its argument is the set of instances at whose address the engine before has found another
/// program. Calls `begun` once everything in the log has been shown. If the first start fails, calls
/// `begun` with the reason and returns.
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

/// Retries until `start` succeeds. Returns `None` if control is stopped meanwhile.
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
