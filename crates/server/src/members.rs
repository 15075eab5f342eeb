//! The fleet's endpoints: its members, invites, removal.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use model::{HostId, MemberName};
use serde::Deserialize;
use wire::{
    AcceptRequest, AddressRequest, Code, DutyRequest, FleetStatus, InviteRequest, Invited,
    MemberChanged, Problem, ProxyDutyRequest,
};

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

/// Says what a host is used for.
pub(crate) async fn set_duty(
    State(api): State<ApiState>,
    Path(host): Path<String>,
    Sent(DutyRequest { duty }): Sent<DutyRequest>,
) -> ApiResult<Json<MemberChanged>> {
    let host = host.parse::<HostId>().map_err(|error| invalid(&error))?;
    Ok(Json(api.fleet.set_duty(host, duty).await?))
}

/// Takes in a member that is not known.
pub(crate) async fn accept(
    State(api): State<ApiState>,
    Path(name): Path<String>,
    Sent(request): Sent<AcceptRequest>,
) -> ApiResult<Json<MemberChanged>> {
    let name = name.parse::<MemberName>().map_err(|error| invalid(&error))?;
    Ok(Json(api.fleet.accept(name, request).await?))
}

/// Says where instances of a host listen from now on.
pub(crate) async fn set_address(
    State(api): State<ApiState>,
    Path(host): Path<String>,
    Sent(AddressRequest { address }): Sent<AddressRequest>,
) -> ApiResult<Json<MemberChanged>> {
    let host = host.parse::<HostId>().map_err(|error| invalid(&error))?;
    Ok(Json(api.fleet.set_address(host, address).await?))
}

/// Says what a proxy is used for.
pub(crate) async fn set_proxy_duty(
    State(api): State<ApiState>,
    Path(proxy): Path<String>,
    Sent(duty): Sent<ProxyDutyRequest>,
) -> ApiResult<Json<MemberChanged>> {
    let proxy = proxy.parse::<MemberName>().map_err(|error| invalid(&error))?;
    Ok(Json(api.fleet.set_proxy_duty(proxy, duty).await?))
}

/// Removes a member.
pub(crate) async fn remove(
    State(api): State<ApiState>,
    Path(name): Path<String>,
    query: Result<Query<MemberRemoval>, QueryRejection>,
) -> ApiResult<Json<MemberChanged>> {
    let Query(MemberRemoval { now }) = query.map_err(|error| invalid(&error))?;
    let name = name.parse::<MemberName>().map_err(|error| invalid(&error))?;
    Ok(Json(api.fleet.remove(name, now).await?))
}

/// The query of a removal.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberRemoval {
    /// True if the member is removed although it runs instances.
    #[serde(default)]
    now: bool,
}

fn invalid(error: &dyn std::error::Error) -> No {
    No(Problem::new(Code::Invalid, error.to_string()))
}
