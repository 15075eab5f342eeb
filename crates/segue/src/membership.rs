//! What a member of a fleet keeps in its data folder: its identity, where its servers are, and which control
//! it has obeyed. A member that has none of it joins with an invite.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cli::CommandError;
use identity::{Credentials, Invite, MemberKey};
use link::ControlRun;
use model::Role;
use serde::{Deserialize, Serialize};

/// The longest invite, in bytes.
const LONGEST: u64 = 64 << 10;

/// A member's identity and its servers.
#[derive(Debug)]
pub struct Membership {
    files: MembershipFiles,
    pub credentials: Credentials,
    pub known: KnownServers,
}

/// Where a member keeps what it has to know to come back.
#[derive(Clone, Debug)]
pub struct MembershipFiles {
    credentials: PathBuf,
    known: PathBuf,
}

/// What a member knows of its servers.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KnownServers {
    /// Their addresses, as `HOST:PORT`.
    pub servers: Vec<String>,
    /// The control that was obeyed last.
    pub obeyed: Option<ControlRun>,
}

impl Membership {
    /// Reads what the data folder has of a member, or joins with the invite in `join`: the invite itself, `-`
    /// for standard input, or `@FILE`. `servers` replace the addresses that are known.
    pub async fn open_or_join(
        data: &Path,
        role: Role,
        join: Option<&str>,
        servers: &[String],
    ) -> Result<Self, CommandError> {
        let keys = data.join("keys");
        let act = format!("use the keys in {}", keys.display());
        let failed = |error: &dyn std::error::Error| CommandError::new(&*act, error);
        datadir::private_folder(&keys).map_err(|error| failed(&error))?;
        let files = MembershipFiles {
            credentials: credentials_file(data),
            known: data.join("servers.json"),
        };
        let kept = Credentials::open(&files.credentials).map_err(|error| failed(&error))?;
        // One whose certificate has run out for long is invited again, and keeps its key and its instances.
        let usable =
            kept.filter(|it| join.is_none() || !it.own().validity.is_over(SystemTime::now()));
        let mut membership = match usable {
            Some(credentials) => {
                let known = files.known()?;
                Self { files, credentials, known }
            }
            None => Self::join(files, role, join).await?,
        };
        let own = membership.credentials.own().identity.clone();
        if own.role != role {
            let (data, is) = (data.display(), own.role);
            let why = format!("the member in {data} is a {is}");
            return Err(CommandError::because(format!("run a {role}"), why)
                .hint("choose another folder with --data"));
        }
        if !servers.is_empty() {
            membership.known.servers = servers.to_vec();
        }
        membership.files.keep(&membership.known);
        Ok(membership)
    }

    async fn join(
        files: MembershipFiles,
        role: Role,
        join: Option<&str>,
    ) -> Result<Self, CommandError> {
        let act = "join the fleet";
        let hint = "`segue fleet invite` on the server's machine prints one; give it with --join";
        let join =
            join.ok_or_else(|| CommandError::because(act, "there is no invite").hint(hint))?;
        let text = invite_text(join).map_err(|error| {
            let from = if join == "-" { "standard input" } else { join.trim_start_matches('@') };
            CommandError::new(format!("read the invite from {from}"), &error)
        })?;
        let invite: Invite = text.parse().map_err(|e: identity::IdentityError| {
            let text = e.to_string();
            let (cause, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
            CommandError::because(act, cause).hint(hint)
        })?;
        if invite.role != role {
            let (name, is) = (&invite.name, invite.role);
            let why = format!("the invite is one for a {is}, {name}");
            return Err(CommandError::because(act, why));
        }
        let key = MemberKey::open_or_create(&files.credentials);
        let key = key.map_err(|error| CommandError::new(act, &error))?;
        let credentials = link::join(&invite, key).await.map_err(|error| {
            let door = "the server listens there with --fleet; a firewall has to let it through";
            CommandError::new(act, &error).hint(if error.is_refusal() { hint } else { door })
        })?;
        credentials.save(&files.credentials).map_err(|error| CommandError::new(act, &error))?;
        let known = KnownServers { servers: invite.addresses, obeyed: None };
        tracing::info!(name = %invite.name, "joined the fleet");
        Ok(Self { files, credentials, known })
    }

    /// Returns the identity, what is known of the servers, and where the member keeps both.
    pub fn into_parts(self) -> (Credentials, KnownServers, MembershipFiles) {
        (self.credentials, self.known, self.files)
    }
}

impl MembershipFiles {
    /// Keeps what is known of the servers. If it cannot be written, what was known before stays.
    pub fn keep(&self, known: &KnownServers) {
        let text = serde_json::to_vec_pretty(known).unwrap_or_default();
        if let Err(error) = datadir::replace(&self.known, &text) {
            tracing::warn!(%error, "where the servers are is not saved");
        }
    }

    /// Keeps renewed credentials. If they cannot be written, those before stay.
    pub fn keep_credentials(&self, credentials: &Credentials) {
        if let Err(error) = credentials.save(&self.credentials) {
            tracing::warn!(%error, "the renewed certificate is not saved");
        }
    }

    fn known(&self) -> Result<KnownServers, CommandError> {
        let act = format!("read {}", self.known.display());
        let failed = |error: &dyn std::error::Error| CommandError::new(&*act, error);
        let text = match std::fs::read(&self.known) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(KnownServers::default());
            }
            Err(error) => return Err(failed(&error)),
        };
        serde_json::from_slice(&text).map_err(|error| {
            failed(&error).hint("delete it, and name the server with --servers HOST:PORT")
        })
    }
}

/// Returns the file with the credentials of a member.
pub fn credentials_file(data: &Path) -> PathBuf {
    data.join("keys").join("member.pem")
}

/// Returns the text of an invite.
fn invite_text(join: &str) -> std::io::Result<String> {
    let mut text = String::new();
    match (join, join.strip_prefix('@')) {
        ("-", _) => {
            std::io::stdin().lock().take(LONGEST).read_to_string(&mut text)?;
        }
        (_, Some(path)) => {
            std::fs::File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
        }
        (word, None) => text.push_str(word),
    }
    Ok(text)
}
