//! Queries about apps, their releases and their receipts. Changes nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use model::{AppName, AppView, Conventions, ListenerRule, ReleaseNo};
use wire::{
    AppInfo, Code, Problem, ReceiptWithCause, RolloutReceipt, RolloutStanding, StoredRelease,
};

use crate::ApiState;
use crate::answer::{ApiResult, No, app_name, no_such_app};

pub(crate) async fn list(State(api): State<ApiState>) -> ApiResult<Json<Vec<AppInfo>>> {
    Ok(Json(known(&api)?.iter().map(|view| shown(&api, view)).collect()))
}

pub(crate) async fn show(
    State(api): State<ApiState>,
    Path(app): Path<String>,
) -> ApiResult<Json<AppInfo>> {
    let view = find(&api, &app_name(&app)?)?;
    Ok(Json(shown(&api, &view)))
}

pub(crate) async fn releases(
    State(api): State<ApiState>,
    Path(app): Path<String>,
) -> ApiResult<Json<Vec<StoredRelease>>> {
    let view = find(&api, &app_name(&app)?)?;
    Ok(Json(view.releases.iter().map(StoredRelease::from).collect()))
}

pub(crate) async fn receipts(
    State(api): State<ApiState>,
    Path(app): Path<String>,
) -> ApiResult<Json<Vec<ReceiptWithCause>>> {
    let view = find(&api, &app_name(&app)?)?;
    Ok(Json(view.receipts.iter().map(ReceiptWithCause::from).collect()))
}

pub(crate) async fn receipt(
    State(api): State<ApiState>,
    Path((app, rollout)): Path<(String, String)>,
) -> ApiResult<Json<ReceiptWithCause>> {
    let app = app_name(&app)?;
    let view = find(&api, &app)?;
    let found = view.receipts.iter().find(|receipt| receipt.rollout.to_string() == rollout);
    if let Some(receipt) = found {
        return Ok(Json(receipt.into()));
    }
    let under_way = view.rollout.as_ref().is_some_and(|r| r.id.to_string() == rollout);
    let why = if under_way { "is still under way" } else { "is not known" };
    let problem = Problem::new(Code::NotFound, format!("rollout {rollout} of `{app}` {why}"));
    Err(No(problem.hint(format!("`segue receipt {app}` shows the last one"))))
}

/// Returns the receipt so far of the rollout under way.
pub(crate) async fn rollout(
    State(api): State<ApiState>,
    Path(app): Path<String>,
) -> ApiResult<Json<RolloutReceipt<RolloutStanding>>> {
    let app = app_name(&app)?;
    find(&api, &app)?;
    let account = api.engine.account(&app).await;
    let view = find(&api, &app)?;
    let under_way = view.rollout.as_ref();
    let both = account.as_ref().zip(under_way).filter(|(account, r)| account.rollout == r.id);
    let Some((account, rollout)) = both else {
        let problem = Problem::new(Code::NotFound, format!("no rollout of `{app}` is under way"));
        return Err(No(problem.hint(format!("`segue receipt {app}` shows the last one"))));
    };
    let waiting = rollout.waiting.as_ref().map(|reason| reason.sentence(api.engine.now()));
    Ok(Json(RolloutReceipt::so_far(account, RolloutStanding::of(rollout), waiting)))
}

fn shown(api: &ApiState, view: &AppView) -> AppInfo {
    let traffic = (api.traffic_warning)(&view.app);
    let warnings = as_root(api, view).into_iter().chain(unchecked(view)).chain(traffic).collect();
    let read_only = api.engine.read_only();
    AppInfo { read_only, warnings, ..AppInfo::new(view, api.engine.now()) }
}

/// Returns a warning if the live release runs as root.
fn as_root(api: &ApiState, view: &AppView) -> Option<String> {
    let live = view.live.as_ref()?.release;
    let release = view.releases.iter().find(|release| release.no == live)?;
    (api.as_root && is_root(release.spec.run.user.as_deref())).then(|| {
        format!("{} runs as root; name a user of its own with `user` in [run]", release.label)
    })
}

/// Returns a warning if listeners at the addresses of the live release's instances are not checked.
fn unchecked(view: &AppView) -> Option<String> {
    let live = view.live.as_ref()?.release;
    let release = view.releases.iter().find(|release| release.no == live)?;
    let label = &release.label;
    match (release.conventions, release.spec.run.listener) {
        (Conventions::First, _) => Some(format!(
            "{label} was deployed by an earlier segue: whether it is {label} that listens at its \
             ports is checked from the next release on"
        )),
        (Conventions::Second, ListenerRule::Any) => Some(format!(
            "{label} has `listener = \"any\"` in [run]: whatever listens at its ports gets its users"
        )),
        (Conventions::Second, ListenerRule::Own) => None,
    }
}

/// Returns whether a release with this user runs as root, by whatever name, on a server that runs as root.
fn is_root(user: Option<&str>) -> bool {
    user.is_none_or(|user| wire::user_id(user) == Some(0))
}

/// Returns all apps. If there are none because the journal could not be read, returns an error instead.
pub(crate) fn known(api: &ApiState) -> ApiResult<Vec<Arc<AppView>>> {
    let apps = api.engine.apps();
    match api.engine.read_only() {
        Some(why) if apps.is_empty() => {
            let problem = Problem::new(Code::ReadOnly, format!("no app is known now: {why}"));
            Err(No(problem.hint("traffic goes on; the server's log says more")))
        }
        _ => Ok(apps),
    }
}

pub(crate) fn find(api: &ApiState, app: &AppName) -> ApiResult<Arc<AppView>> {
    if let Some(view) = api.engine.view(app) {
        return Ok(view);
    }
    let apps = known(api)?;
    Err(no_such_app(app, apps.iter().map(|view| view.app.as_str())))
}

/// Finds a release by its label, or else by its number: `12` or `#12`.
pub(crate) fn find_release(view: &AppView, text: &str) -> ApiResult<ReleaseNo> {
    let number = text.strip_prefix('#').unwrap_or(text);
    let by_label = view.releases.iter().find(|release| release.label.as_str() == text);
    let found = by_label
        .or_else(|| view.releases.iter().find(|release| release.no.0.to_string() == number));
    found.map(|release| release.no).ok_or_else(|| {
        let message = format!("`{}` has no release {text:?}", view.app);
        let problem = Problem::new(Code::NotFound, message);
        let labels = view.releases.iter().map(|release| release.label.as_str());
        No(match model::nearest(text, labels) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem.hint(format!("`segue releases {}` lists them", view.app)),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::is_root;

    #[test]
    fn root_is_root_by_every_name() {
        assert!([None, Some("root"), Some("0")].into_iter().all(is_root));
        assert!(![Some("65534"), Some("nobody-of-this-name")].into_iter().any(is_root));
    }
}
