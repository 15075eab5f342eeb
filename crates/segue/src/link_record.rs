//! What a member keeps of its link with the server while it runs: which control it obeys and where its servers
//! are, both for its next start, and what it has logged of the link.

use std::sync::{Mutex, PoisonError};

use identity::Credentials;
use link::{ControlRun, LinkError, Member, SessionTimes, Welcome};

use crate::membership::{KnownServers, Membership, MembershipFiles};

/// A member's record of its link.
#[derive(Debug)]
pub struct LinkRecord {
    files: MembershipFiles,
    known: Mutex<KnownServers>,
    /// The last state of the link, so that each state is logged once.
    told: Mutex<String>,
    /// What goes on without a session, for the log.
    goes_on: &'static str,
}

impl LinkRecord {
    /// Returns a member, and its record. `goes_on` says what goes on without a session.
    pub fn begin(membership: Membership, goes_on: &'static str) -> (Member, Self) {
        let (credentials, known, files) = membership.into_parts();
        let servers = known.servers.clone();
        let member = Member::new(credentials, servers, known.obeyed, SessionTimes::default());
        let record = Self { files, known: Mutex::new(known), told: Mutex::default(), goes_on };
        (member, record)
    }

    /// Records that a control was obeyed.
    pub fn obeyed(&self, by: ControlRun) {
        self.know(|known| known.obeyed = Some(by));
    }

    /// Records that a session has begun.
    pub fn connected(&self, welcome: &Welcome) {
        self.tell("connected to the server".into());
        if !welcome.servers.is_empty() {
            self.know(|known| known.servers.clone_from(&welcome.servers));
        }
    }

    /// Records that there is no session.
    pub fn disconnected(&self, why: &LinkError) {
        self.tell(format!("{}; {}", model::in_full(why), self.goes_on));
    }

    /// Keeps a renewed certificate.
    pub fn renewed(&self, credentials: &Credentials) {
        self.files.keep_credentials(credentials);
    }

    /// Changes what is known of the servers, and keeps it if it is new.
    fn know(&self, change: impl FnOnce(&mut KnownServers)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.clone();
        change(&mut known);
        if *known != before {
            self.files.keep(&known);
        }
    }

    /// Logs the state of the link, unless it is what was logged last.
    fn tell(&self, state: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != state {
            tracing::info!("{state}");
            *told = state;
        }
    }
}
