//! The end of an app: what is taken from it at once.

use model::Timestamp;

use super::Folded;
use super::stored::forget_if_removed;
use crate::App;

/// The app gets no requests any more and its instances drain. What was removed without its state may be
/// removed with it later.
pub(super) fn remove(app: &mut App, with_state: bool, at: Timestamp) -> Folded {
    let more = with_state && app.forget_state.is_none();
    if (app.removing.is_some() && !more) || app.rollout.is_some() {
        return Err("it is being removed already, or a rollout is under way");
    }
    app.forget_state = with_state.then_some(at);
    app.removing.get_or_insert(at);
    (app.live, app.standby) = (None, None);
    (app.scale, app.maintenance) = (None, None);
    forget_if_removed(app);
    Ok(())
}
