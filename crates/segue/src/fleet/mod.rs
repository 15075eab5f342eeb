//! The server's side of a fleet: the door for members, with the fleet's keys, and what is seen of each member.

mod api;
mod content;
mod desk;
mod for_proxies;
mod logs;
mod presence;
mod reach_targets;
mod remote_proxies;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use cli::CommandError;
use control::Inbox;
use identity::{Authority, MemberIdentity, MemberKey};
use link::{ControlRun, DoorConfig, FleetDoor, SessionTimes, ToMember};
use model::{ProxySettings, Role, ToHost};
use server::AppViews;
use store::ReleaseStore;
use wire::Secret;

use crate::local_host::LocalHostTerms;
use for_proxies::ForProxies;

pub use desk::Desk;
pub use reach_targets::keep_told;
pub use remote_proxies::RemoteProxies;

/// Settings of a fleet's door.
pub struct FleetConfig {
    /// Where members connect.
    pub listen: SocketAddr,
    /// The addresses at which members reach it, as `HOST:PORT`.
    pub advertise: Vec<String>,
    /// The settings of all proxies.
    pub settings: ProxySettings,
    /// The keys of users' cookies.
    pub keys: Secret,
    /// The terms of the server's own host.
    pub local: LocalHostTerms,
}

/// The members of a server's fleet, behind its door.
pub struct Members {
    /// Closed when the fleet is dropped.
    _door: FleetDoor,
    desk: Arc<Desk>,
}

impl Members {
    /// Opens the door. The fleet's keys are in the data folder, and made if there are none.
    pub fn open(
        config: FleetConfig,
        data: &Path,
        inbox: Inbox,
        board: Arc<AppViews>,
        store: Arc<ReleaseStore>,
    ) -> Result<Self, CommandError> {
        let act = "open the door for members";
        let keys = data.join("keys");
        datadir::private_folder(&keys).map_err(|error| CommandError::new(act, &error))?;
        let failed = |error: identity::IdentityError| CommandError::new(act, &error);
        let now = SystemTime::now();
        let authority = Authority::open_or_create(&keys.join("authority.pem"), now);
        let authority = authority.map_err(failed)?;
        let fingerprint = authority.fingerprint();
        let server = server_credentials(&authority, &keys, now).map_err(failed)?;
        let FleetConfig { listen, advertise, settings, keys, local } = config;
        let listener = TcpListener::bind(listen).map_err(|error| {
            let failure = CommandError::new(format!("{act} at {listen}"), &error);
            failure.hint("choose another address with --fleet")
        })?;
        let for_proxies = ForProxies::new(settings, keys);
        let desk = Arc::new(Desk::new(
            (fingerprint, advertise, local),
            (inbox, board, store),
            for_proxies,
        ));
        let config = DoorConfig { authority, server, times: SessionTimes::default() };
        let door = FleetDoor::open(listener, config, desk.clone());
        let door = door.map_err(|error| CommandError::new(act, &error))?;
        desk.opened(door.to_members());
        tracing::info!("members of the fleet connect to {listen}");
        Ok(Self { _door: door, desk })
    }

    /// Returns the ways to the hosts and to the proxies, for a control of this term. Control is told of every
    /// member that is connected.
    pub fn begins(&self, term: u64) -> (RemoteHosts, RemoteProxies) {
        let by = self.desk.begins(term);
        let hosts = RemoteHosts { by, desk: self.desk.clone() };
        (hosts, RemoteProxies::new(self.desk.clone(), by))
    }

    /// Returns what is known of the members, and the way to them.
    pub fn desk(&self) -> Arc<Desk> {
        self.desk.clone()
    }
}

/// The hosts on other machines.
pub struct RemoteHosts {
    desk: Arc<Desk>,
    by: ControlRun,
}

impl RemoteHosts {
    /// Sends a command to a host. One to a host without a session is dropped: once it connects, everything is
    /// said again.
    pub fn send(&self, to: ToHost) {
        let ToHost { host, term: _, command } = to;
        if let (Some(to_members), Ok(member)) = (self.desk.to_members(), host.as_str().parse()) {
            to_members.send(&member, ToMember::Host { by: self.by, command });
        }
    }
}

/// Returns the server's own credentials, made anew at each start. Members look at who a server is, not at the
/// dates of its certificate.
fn server_credentials(
    authority: &Authority,
    keys: &Path,
    now: SystemTime,
) -> Result<identity::Credentials, identity::IdentityError> {
    let key = MemberKey::open_or_create(&keys.join("server.pem"))?;
    let name = Role::Server.as_str().parse();
    let name = name.map_err(|_| identity::IdentityError::Stranger("its name is no name"))?;
    let identity = MemberIdentity { fleet: authority.fleet(), role: Role::Server, name };
    authority.server(key, &identity, now)
}
