//! The fleet's endpoints: its members, invites, removal.

use axum::Json;
use axum::extract::{Path, State};
use model::MemberName;
use wire::{Code, FleetStatus, InviteRequest, Invited, MemberChanged, Problem};

use crate::answer::{ApiResult, No, Sent};
use crate::api_state::ApiState;

/// Shows the members.
pub(crate) async fn show(State(api): State<ApiState>) -> Json<FleetStatus> {
    Json(api.fleet.status())
}

/// Invites a member.
pub(crate) async fn invite(
    State(api): State<ApiState>,
    Sent(request): Sent<InviteRequest>,
) -> ApiResult<Json<Invited>> {
    Ok(Json(api.fleet.invite(request).await?))
}

/// Removes a member.
pub(crate) async fn remove(
    State(api): State<ApiState>,
    Path(name): Path<String>,
) -> ApiResult<Json<MemberChanged>> {
    let name = name.parse::<MemberName>();
    let name = name.map_err(|error| No(Problem::new(Code::Invalid, error.to_string())))?;
    Ok(Json(api.fleet.remove(name).await?))
}
