//! Apps: what they are, and the commands about them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use control::{Answer as Taken, Ask, NewRelease, Promote};
use model::{AppName, AppSpec, AppView, Digest, ReleaseNo};
use wire::{
    Account, App, AppFile, Code, DeployRequest, Problem, PromoteRequest, Release, RollbackRequest,
    Secret, check_env_name,
};

use crate::answer::{Answer, No, Sent, app_name, blocking, no_such_app};
use crate::{Command, Parts};

/// All values of an environment together have at most so many bytes.
const ENV_LIMIT: usize = 256 * 1024;

type Accepted = (StatusCode, Json<wire::Accepted>);

pub(crate) async fn list(State(parts): State<Parts>) -> Json<Vec<App>> {
    let now = parts.engine.now();
    Json(parts.engine.apps().iter().map(|view| App::new(view, now)).collect())
}

pub(crate) async fn show(State(parts): State<Parts>, Path(app): Path<String>) -> Answer<Json<App>> {
    let view = find(&parts, &app_name(&app)?)?;
    Ok(Json(App::new(&view, parts.engine.now())))
}

pub(crate) async fn releases(
    State(parts): State<Parts>,
    Path(app): Path<String>,
) -> Answer<Json<Vec<Release>>> {
    let view = find(&parts, &app_name(&app)?)?;
    Ok(Json(view.releases.iter().map(Release::from).collect()))
}

pub(crate) async fn receipts(
    State(parts): State<Parts>,
    Path(app): Path<String>,
) -> Answer<Json<Vec<Account>>> {
    let view = find(&parts, &app_name(&app)?)?;
    Ok(Json(view.receipts.iter().map(Account::from).collect()))
}

pub(crate) async fn receipt(
    State(parts): State<Parts>,
    Path((app, rollout)): Path<(String, String)>,
) -> Answer<Json<Account>> {
    let app = app_name(&app)?;
    let view = find(&parts, &app)?;
    let found = view.receipts.iter().find(|receipt| receipt.rollout.to_string() == rollout);
    if let Some(receipt) = found {
        return Ok(Json(receipt.into()));
    }
    let under_way = view.rollout.as_ref().is_some_and(|r| r.id.to_string() == rollout);
    let why = if under_way { "is still under way" } else { "is not known" };
    let problem = Problem::new(Code::NotFound, format!("rollout {rollout} of `{app}` {why}"));
    Err(No(problem.hint(format!("`segue receipt {app}` shows the last one"))))
}

pub(crate) async fn deploy(
    State(parts): State<Parts>,
    Path(app): Path<String>,
    Sent(request): Sent<DeployRequest>,
) -> Answer<Accepted> {
    let app = app_name(&app)?;
    let DeployRequest { spec, label, manifest, env, replace, version } = request;
    let AppFile { mut spec, env: mut values, .. } = AppFile::from_json(&spec).map_err(|error| {
        let problem = Problem::new(Code::Invalid, format!("spec: {error}"));
        No(Problem { hint: error.hint, ..problem })
    })?;
    if spec.app != app {
        let message = format!("the spec is of app `{}`, the path of `{app}`", spec.app);
        return Err(No(Problem::new(Code::Invalid, message)));
    }
    values.extend(env);
    check_env(&values)?;
    let store = parts.store.clone();
    let owner = app.clone();
    let (digests, content) = blocking(move || {
        let content = manifest.map(|manifest| store.put_manifest(&owner, &manifest)).transpose()?;
        Ok((store.put_env(&owner, values)?, content))
    })
    .await?;
    spec.run.env = digests;
    let digest = digest(&spec, content);
    let release = Box::new(NewRelease { label, digest, content, spec: Arc::new(spec) });
    ask(&parts, Command { app, seen: version, ask: Ask::Deploy { release, replace } }).await
}

/// Names everything that makes a release: its files and its settings, but not the strategy, which
/// belongs to the rollout. Blake3 over their JSON; values of the environment count by their digests.
fn digest(spec: &AppSpec, content: Option<Digest>) -> Digest {
    let AppSpec { app, run, health, route, drain, strategy: _ } = spec;
    // These shapes have only texts as keys, so this cannot fail.
    let text = serde_json::to_vec(&(app, run, health, route, drain, content)).unwrap_or_default();
    Digest::from_bytes(*blake3::hash(&text).as_bytes())
}

fn check_env(values: &std::collections::BTreeMap<String, Secret>) -> Answer<()> {
    for (name, value) in values {
        let wrong = |why| No(Problem::new(Code::Invalid, format!("variable `{name}`: {why}")));
        check_env_name(name).map_err(wrong)?;
        if value.expose().contains('\0') {
            return Err(wrong("a zero byte cannot stand in a value".into()));
        }
    }
    let size: usize = values.iter().map(|(name, value)| name.len() + value.expose().len()).sum();
    if size > ENV_LIMIT {
        let message = format!("the environment has {size} bytes, {ENV_LIMIT} at most are taken");
        return Err(No(Problem::new(Code::TooLarge, message)));
    }
    Ok(())
}

pub(crate) async fn rollback(
    State(parts): State<Parts>,
    Path(app): Path<String>,
    Sent(request): Sent<RollbackRequest>,
) -> Answer<Accepted> {
    let app = app_name(&app)?;
    let RollbackRequest { to, version } = request;
    let view = find(&parts, &app)?;
    let to = to.map(|text| find_release(&view, &text)).transpose()?;
    ask(&parts, Command { app, seen: version, ask: Ask::Rollback { to } }).await
}

pub(crate) async fn promote(
    State(parts): State<Parts>,
    Path(app): Path<String>,
    Sent(PromoteRequest { version }): Sent<PromoteRequest>,
) -> Answer<Accepted> {
    let app = app_name(&app)?;
    find(&parts, &app)?;
    ask(&parts, Command { app, seen: version, ask: Ask::Promote(Promote::Step) }).await
}

pub(crate) async fn abort(
    State(parts): State<Parts>,
    Path(app): Path<String>,
    Sent(PromoteRequest { version }): Sent<PromoteRequest>,
) -> Answer<Accepted> {
    let app = app_name(&app)?;
    find(&parts, &app)?;
    ask(&parts, Command { app, seen: version, ask: Ask::Abort }).await
}

pub(crate) async fn remove(
    State(parts): State<Parts>,
    Path(app): Path<String>,
) -> Answer<Accepted> {
    let app = app_name(&app)?;
    find(&parts, &app)?;
    ask(&parts, Command { app, seen: None, ask: Ask::Remove }).await
}

/// Asks the engine. On a task of its own: a client that hangs up does not take the command back.
async fn ask(parts: &Parts, command: Command) -> Answer<Accepted> {
    let engine = parts.engine.clone();
    let app = command.app.clone();
    let asked = tokio::spawn(async move { engine.command(command).await }).await;
    let Taken { rollout, release, note: _, already } = match asked {
        Ok(answer) => answer?,
        Err(_) => {
            let message = "a defect of segue ended the command";
            return Err(No(Problem::new(Code::Internal, message)));
        }
    };
    let status = if already { StatusCode::OK } else { StatusCode::ACCEPTED };
    let (release, label) = release.map_or((None, None), |(no, label)| (Some(no.0), Some(label)));
    let rollout = rollout.map(|id| id.0);
    Ok((status, Json(wire::Accepted { app, rollout, already, release, label })))
}

pub(crate) fn find(parts: &Parts, app: &AppName) -> Answer<Arc<AppView>> {
    parts.engine.view(app).ok_or_else(|| {
        let apps = parts.engine.apps();
        no_such_app(app, apps.iter().map(|view| view.app.as_str()))
    })
}

/// A release by its label, else by its number: `12` or `#12`.
fn find_release(view: &AppView, text: &str) -> Answer<ReleaseNo> {
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
