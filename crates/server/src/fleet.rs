//! The fleet's interface for the API, and the fleet of a server that has no door for members.

use std::net::IpAddr;

use control::{Refusal, RefusalCode};
use model::{HostDuty, HostId, MemberName};
use wire::{AcceptRequest, FleetStatus, InviteRequest, Invited, MemberChanged, ProxyDutyRequest};

use crate::engine::Pending;

/// The fleet, as the API uses it.
pub trait ApiFleet: Send + Sync + 'static {
    /// Returns the members as they are.
    fn status(&self) -> FleetStatus;

    /// Invites a member.
    fn invite(&self, request: InviteRequest) -> Pending<'_, Result<Invited, Refusal>>;

    /// Takes in a member that is connected with a certificate of the fleet, and that is not known.
    fn accept(
        &self,
        name: MemberName,
        request: AcceptRequest,
    ) -> Pending<'_, Result<MemberChanged, Refusal>>;

    /// Says where instances of a host listen from now on.
    fn set_address(
        &self,
        host: HostId,
        address: IpAddr,
    ) -> Pending<'_, Result<MemberChanged, Refusal>>;

    /// Says what a host is used for.
    fn set_duty(&self, host: HostId, duty: HostDuty)
    -> Pending<'_, Result<MemberChanged, Refusal>>;

    /// Says what a proxy is used for.
    fn set_proxy_duty(
        &self,
        proxy: MemberName,
        duty: ProxyDutyRequest,
    ) -> Pending<'_, Result<MemberChanged, Refusal>>;

    /// Removes a member, or takes back its invite. One that is here and runs instances is removed only if `now`
    /// is set.
    fn remove(&self, name: MemberName, now: bool) -> Pending<'_, Result<MemberChanged, Refusal>>;
}

/// The fleet of a server without a door for members.
#[derive(Clone, Copy, Debug)]
pub struct NoFleet;

impl NoFleet {
    fn refusal(act: &str) -> Refusal {
        let message = format!("cannot {act}: this server has no door for members");
        let hint = Some("start it with `--fleet ADDR:PORT`, where other machines reach it".into());
        Refusal { code: RefusalCode::Refused, message, hint }
    }
}

impl ApiFleet for NoFleet {
    fn status(&self) -> FleetStatus {
        FleetStatus::default()
    }

    fn invite(&self, request: InviteRequest) -> Pending<'_, Result<Invited, Refusal>> {
        let refusal = Self::refusal(&format!("invite {}", request.name));
        Box::pin(async move { Err(refusal) })
    }

    fn accept(
        &self,
        name: MemberName,
        _request: AcceptRequest,
    ) -> Pending<'_, Result<MemberChanged, Refusal>> {
        let refusal = Self::refusal(&format!("accept {name}"));
        Box::pin(async move { Err(refusal) })
    }

    fn set_address(
        &self,
        host: HostId,
        _address: IpAddr,
    ) -> Pending<'_, Result<MemberChanged, Refusal>> {
        let refusal = Self::refusal(&format!("change {host}"));
        Box::pin(async move { Err(refusal) })
    }

    fn set_duty(
        &self,
        host: HostId,
        _duty: HostDuty,
    ) -> Pending<'_, Result<MemberChanged, Refusal>> {
        let refusal = Self::refusal(&format!("change {host}"));
        Box::pin(async move { Err(refusal) })
    }

    fn set_proxy_duty(
        &self,
        proxy: MemberName,
        _duty: ProxyDutyRequest,
    ) -> Pending<'_, Result<MemberChanged, Refusal>> {
        let refusal = Self::refusal(&format!("change {proxy}"));
        Box::pin(async move { Err(refusal) })
    }

    fn remove(&self, name: MemberName, _now: bool) -> Pending<'_, Result<MemberChanged, Refusal>> {
        let refusal = Self::refusal(&format!("remove {name}"));
        Box::pin(async move { Err(refusal) })
    }
}
