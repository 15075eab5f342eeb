//! The environment variables that segue sets for an instance. The agent sets them from this list, and checks
//! use it to refuse variables of an app with these names.

use crate::{AppSpec, Listen, ProbePort};

/// An environment variable that segue sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The address to listen on.
    Host,
    /// The port to listen on.
    Port,
    /// The path of the unix socket to listen on.
    Socket,
    /// The port for health checks.
    HealthPort,
    /// The app's name.
    App,
    /// The release's label.
    Release,
    /// The instance's name.
    Instance,
    /// The folder that outlives releases.
    StateDir,
    /// The number of the lease that a work holds.
    LeaseToken,
}

impl Variable {
    /// All variables.
    pub const ALL: [Self; 9] = [
        Self::Host,
        Self::Port,
        Self::Socket,
        Self::HealthPort,
        Self::App,
        Self::Release,
        Self::Instance,
        Self::StateDir,
        Self::LeaseToken,
    ];

    /// The prefix of names reserved for segue, whether it sets them today or not.
    const PREFIX: &str = "SEGUE_";

    /// Returns the variable's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "HOST",
            Self::Port => "PORT",
            Self::Socket => "SOCKET",
            Self::HealthPort => "HEALTH_PORT",
            Self::App => "SEGUE_APP",
            Self::Release => "SEGUE_RELEASE",
            Self::Instance => "SEGUE_INSTANCE",
            Self::StateDir => "SEGUE_STATE_DIR",
            Self::LeaseToken => "SEGUE_LEASE_TOKEN",
        }
    }

    /// Returns why an app with these settings cannot set a variable of this name itself, if so. The text
    /// completes "because …".
    pub fn reserved(name: &str, spec: &AppSpec) -> Option<&'static str> {
        if name.starts_with(Self::PREFIX) {
            return Some("segue sets it itself");
        }
        match Self::ALL.into_iter().find(|variable| variable.name() == name)? {
            Self::Socket => (spec.run.listen == Listen::Unix)
                .then_some("with `listen = \"unix\"` segue sets it itself"),
            Self::HealthPort => (spec.health.port == ProbePort::Own)
                .then_some("with `port = true` in [health] segue sets it itself"),
            Self::Host
            | Self::Port
            | Self::App
            | Self::Release
            | Self::Instance
            | Self::StateDir
            | Self::LeaseToken => Some("segue sets it itself"),
        }
    }
}
