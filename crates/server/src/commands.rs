//! The commands about an existing app: each becomes one command to the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use control::{Answer as Taken, Ask, Promote};
use model::AppName;
use serde::Deserialize;
use wire::{
    BareRequest, Code, LeftState, MaintenanceRequest, Problem, PromoteRequest, RollbackRequest,
    ScaleRequest,
};

use crate::answer::{ApiResult, No, Sent, app_name, blocking};
use crate::apps::{find, find_release, known};
use crate::events::wrong_query;
use crate::{ApiHost, ApiState, EngineCommand, StoreError};

/// The largest number of instances that an app file may ask for.
const MOST_REPLICAS: u16 = 1_000;

pub(crate) type AcceptedResponse = (StatusCode, Json<wire::CommandAccepted>);

pub(crate) async fn rollback(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    Sent(request): Sent<RollbackRequest>,
) -> ApiResult<AcceptedResponse> {
    let app = app_name(&app)?;
    let RollbackRequest { to, version } = request;
    let view = find(&api, &app)?;
    let to = to.map(|text| find_release(&view, &text)).transpose()?;
    ask(&api, EngineCommand { app, seen: version, ask: Ask::Rollback { to } }).await
}

pub(crate) async fn promote(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    Sent(PromoteRequest { full, version }): Sent<PromoteRequest>,
) -> ApiResult<AcceptedResponse> {
    let how_far = if full { Promote::Full } else { Promote::Step };
    ask_known(&api, &app, version, Ask::Promote(how_far)).await
}

pub(crate) async fn pause(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    Sent(BareRequest { version }): Sent<BareRequest>,
) -> ApiResult<AcceptedResponse> {
    ask_known(&api, &app, version, Ask::Pause).await
}

pub(crate) async fn sync(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    Sent(BareRequest { version }): Sent<BareRequest>,
) -> ApiResult<AcceptedResponse> {
    ask_known(&api, &app, version, Ask::Sync).await
}

pub(crate) async fn resume(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    Sent(BareRequest { version }): Sent<BareRequest>,
) -> ApiResult<AcceptedResponse> {
    ask_known(&api, &app, version, Ask::Resume).await
}

pub(crate) async fn restart(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    Sent(BareRequest { version }): Sent<BareRequest>,
) -> ApiResult<AcceptedResponse> {
    ask_known(&api, &app, version, Ask::Restart).await
}

pub(crate) async fn scale(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    Sent(ScaleRequest { replicas, version }): Sent<ScaleRequest>,
) -> ApiResult<AcceptedResponse> {
    if replicas == 0 || replicas > MOST_REPLICAS {
        let message = format!("`replicas`: expected 1 to {MOST_REPLICAS}, found {replicas}");
        let problem = Problem::new(Code::Invalid, message);
        return Err(No(problem.hint("to have no instance at all, remove the app")));
    }
    ask_known(&api, &app, version, Ask::Scale { replicas }).await
}

pub(crate) async fn maintenance(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    Sent(request): Sent<MaintenanceRequest>,
) -> ApiResult<AcceptedResponse> {
    let version = request.version;
    let on = request.read()?;
    ask_known(&api, &app, version, Ask::Maintenance { on }).await
}

pub(crate) async fn abort(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    Sent(BareRequest { version }): Sent<BareRequest>,
) -> ApiResult<AcceptedResponse> {
    ask_known(&api, &app, version, Ask::Abort).await
}

pub(crate) async fn remove(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    query: Result<Query<Removal>, QueryRejection>,
) -> ApiResult<AcceptedResponse> {
    let Query(Removal { with_state }) = query.map_err(wrong_query)?;
    let app = app_name(&app)?;
    if api.engine.view(&app).is_none() && !(with_state && left(&api).await?.contains_key(&app)) {
        find(&api, &app)?;
    }
    ask(&api, EngineCommand { app, seen: None, ask: Ask::Remove { with_state } }).await
}

/// The query of a removal, which says what is deleted with the app.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removal {
    /// True if the app's state, which is its users' data, is deleted, too.
    #[serde(default)]
    with_state: bool,
}

/// Lists the state folders that removed apps have left behind.
pub(crate) async fn left_state(State(api): State<ApiState>) -> ApiResult<Json<Vec<LeftState>>> {
    let left = left(&api).await?.into_iter();
    Ok(Json(left.map(|(app, path)| LeftState { app, path }).collect()))
}

async fn left(api: &ApiState) -> ApiResult<BTreeMap<AppName, PathBuf>> {
    // Without the journal it is not known which apps exist.
    known(api)?;
    let host = api.host.clone();
    let mut states = blocking(move || states(&*host)).await?;
    states.retain(|app, _| api.engine.view(app).is_none());
    Ok(states)
}

/// Returns the apps that have state, and the paths of their state folders.
pub(crate) fn states(host: &dyn ApiHost) -> Result<BTreeMap<AppName, PathBuf>, StoreError> {
    host.states().map_err(|error| {
        StoreError::Unavailable(format!("cannot list the apps' state: {}", model::in_full(&error)))
    })
}

/// Gives a command about an app that has to exist.
async fn ask_known(
    api: &ApiState,
    app: &str,
    seen: Option<u64>,
    wanted: Ask,
) -> ApiResult<AcceptedResponse> {
    let app = app_name(app)?;
    find(api, &app)?;
    ask(api, EngineCommand { app, seen, ask: wanted }).await
}

/// Gives the engine a command, on a task of its own: a client that disconnects does not cancel the command.
pub(crate) async fn ask(api: &ApiState, command: EngineCommand) -> ApiResult<AcceptedResponse> {
    let engine = api.engine.clone();
    let app = command.app.clone();
    let asked = tokio::spawn(async move { engine.command(command).await }).await;
    let taken = match asked {
        Ok(answer) => answer?,
        Err(_) => {
            let message = "a defect of segue ended the command";
            return Err(No(Problem::new(Code::Internal, message)));
        }
    };
    let status = if taken.already { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(accepted(app, taken))))
}

/// Converts the engine's answer to its wire shape.
pub(crate) fn accepted(app: AppName, taken: Taken) -> wire::CommandAccepted {
    let Taken { rollout, release, note, already, ends: _, begins: _ } = taken;
    let (release, label) = release.map_or((None, None), |(no, label)| (Some(no.0), Some(label)));
    let rollout = rollout.map(|id| id.0);
    wire::CommandAccepted { app, rollout, already, release, label, note, warnings: Vec::new() }
}
