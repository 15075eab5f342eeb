//! Tells every proxy which instances to ask whether it reaches them: all that are shown, from before they take
//! part in traffic until they leave it. Routing tables cannot be the list, since a new instance is in none.

use std::sync::Arc;
use std::time::Duration;

use model::{AppView, ReachTarget, Stage};
use proxy::Proxy;
use tokio::time::sleep;

use super::desk::Desk;

/// The least time between two lists.
const PAUSE: Duration = Duration::from_millis(50);

/// Keeps the lists of the server's own proxy and of those on other machines up to date, until the server ends. What
/// they find is part of their reports.
pub async fn keep_told(desk: Arc<Desk>, own: Proxy) {
    let mut changes = desk.board.changes();
    changes.mark_changed();
    let mut told = Vec::new();
    // The views exist for as long as the desk.
    while changes.changed().await.is_ok() {
        let views = desk.board.views();
        let targets: Vec<_> = views.iter().flat_map(|view| of_app(view)).collect();
        if targets != told {
            tell(&desk, &own, &targets);
            told = targets;
        }
        sleep(PAUSE).await;
    }
}

fn tell(desk: &Desk, own: &Proxy, targets: &[ReachTarget]) {
    if let Err(error) = own.ask_instances(targets) {
        tracing::error!(%error, "the server's own proxy does not ask instances");
    }
    desk.ask_instances(targets.to_vec());
}

/// Returns what proxies ask of an app's instances. One that drains is left to the requests that it has.
fn of_app(view: &AppView) -> Vec<ReachTarget> {
    let mut targets = Vec::new();
    for arm in view.arms() {
        let Some(release) = view.releases.iter().find(|release| release.no == arm.release) else {
            continue;
        };
        let stays = |stage: Stage| matches!(stage, Stage::Joining | Stage::Serving);
        let of_arm = arm.instances.iter().filter(|instance| stays(instance.stage));
        targets.extend(of_arm.filter_map(|it| {
            let (id, spec) = (it.id.clone(), &release.spec);
            ReachTarget::new(id, &it.address, spec, release.conventions)
        }));
    }
    targets
}
