//! Begins the removal of an app.

use model::Timestamp;

use super::Folded;
use super::stored::forget_if_removed;
use crate::App;

/// Stops all requests to the app and drains its instances. An app that was removed without its state
/// may be removed once more with its state.
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
