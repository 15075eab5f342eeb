//! The client's requests about the members of the fleet.

use model::{HostId, MemberName};

use crate::client::{ApiClient, Result};
use crate::{
    AcceptRequest, AddressRequest, DutyRequest, FleetStatus, InviteRequest, Invited, MemberChanged,
    ProxyDutyRequest,
};

impl ApiClient {
    /// Returns the members of the fleet.
    ///
    /// # Errors
    /// Those of every call.
    pub fn fleet(&self) -> Result<FleetStatus> {
        self.get("/v1/fleet")
    }

    /// Invites a member into the fleet.
    ///
    /// # Errors
    /// Those of every call.
    pub fn invite(&self, request: &InviteRequest) -> Result<Invited> {
        self.post("/v1/fleet/invites", request)
    }

    /// Says what a host is used for.
    ///
    /// # Errors
    /// Those of every call.
    pub fn set_duty(&self, host: &HostId, request: &DutyRequest) -> Result<MemberChanged> {
        self.post(&format!("/v1/fleet/hosts/{host}/duty"), request)
    }

    /// Takes in a member that the server does not know.
    ///
    /// # Errors
    /// Those of every call.
    pub fn accept_member(
        &self,
        name: &MemberName,
        request: &AcceptRequest,
    ) -> Result<MemberChanged> {
        self.post(&format!("/v1/fleet/members/{name}/accept"), request)
    }

    /// Says where instances of a host listen from now on.
    ///
    /// # Errors
    /// Those of every call.
    pub fn set_address(&self, host: &HostId, request: &AddressRequest) -> Result<MemberChanged> {
        self.post(&format!("/v1/fleet/hosts/{host}/address"), request)
    }

    /// Says what a proxy is used for.
    ///
    /// # Errors
    /// Those of every call.
    pub fn set_proxy_duty(
        &self,
        proxy: &MemberName,
        request: &ProxyDutyRequest,
    ) -> Result<MemberChanged> {
        self.post(&format!("/v1/fleet/proxies/{proxy}/duty"), request)
    }

    /// Removes a member from the fleet, even one that runs instances if `now` is set.
    ///
    /// # Errors
    /// Those of every call.
    pub fn remove_member(&self, name: &MemberName, now: bool) -> Result<MemberChanged> {
        let query = if now { "?now=true" } else { "" };
        self.delete(&format!("/v1/fleet/members/{name}{query}"))
    }
}
