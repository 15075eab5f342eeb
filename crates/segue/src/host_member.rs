//! `segue agent`: the agent of a host on another machine than the server's. Instances outlive it, as they
//! outlive a server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::{Agent, ReleaseSource, Request, SourceError, SourceReader};
use cli::{AgentOptions, CommandError, ConfirmPort};
use identity::Credentials;
use link::{
    Confirmer, ContentRequest, Fetcher, FromMember, Hello, LinkError, Listens, MemberEnd,
    MemberEnded, Offers, ToMember, ToServer, VERSION, Welcome,
};
use model::{AppName, Digest, InstanceId, Role};
use proxy::{SignalAction, Signals};
use sd_notify::NotifyState;
use store::ReleaseStore;
use tokio::io::AsyncReadExt as _;
use wire::{LogRequest, Secret};

use crate::data_folder::DataFolder;
use crate::link_record::LinkRecord;
use crate::membership::Membership;
use crate::serve::GRACE;

/// The largest number of bytes of output in one answer.
const PAGE_BYTES: usize = 4 << 20;
/// The longest value of a variable, in bytes.
const LONGEST_VALUE: u64 = 1 << 20;

/// Runs instances for a fleet until a signal comes, or the host is removed from its fleet.
pub fn run(options: &AgentOptions) -> Result<(), CommandError> {
    let failed = |error: &dyn std::error::Error| CommandError::new("run the agent", error);
    let open_files = agent::OpenFiles::for_apps();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let signals = runtime.block_on(async { Signals::listen() }).map_err(|error| failed(&error))?;
    let (folder, _lock) = DataFolder::claim(&options.data)?;
    let data = folder.path();
    let join = options.join.as_deref();
    let joined = Membership::open_or_join(data, Role::Host, join, &options.servers);
    let membership = runtime.block_on(joined)?;
    let store = ReleaseStore::open(data).map(Arc::new).map_err(|error| failed(&error))?;

    let name = membership.credentials.own().identity.name.clone();
    let fetcher = Fetcher::new(&membership.credentials, membership.known.servers.clone());
    let fetcher = fetcher.map_err(|error| failed(&error))?;
    let folder_of_instances = data.to_owned();
    let confirm = move |said: &BTreeMap<InstanceId, Listens>| {
        let said = said.iter().map(|(id, Listens { at, any })| (id.clone(), *at, *any));
        agent::listening(&folder_of_instances, said)
    };
    let confirmer = Confirmer::new(&membership.credentials, Box::new(confirm));
    let confirmer = confirmer.map_err(|error| failed(&error))?;
    let confirms = listen_for_proxies(options.confirm);
    let confirms_at = confirms.as_ref().and_then(|it| Some(it.local_addr().ok()?.port()));
    let (member, record) = LinkRecord::begin(membership, "instances go on");
    let to_server = member.to_server();
    let config = agent::AgentConfig {
        data: data.to_owned(),
        program: std::env::current_exe().map_err(|error| failed(&error))?,
        boot_id: agent::boot_id(),
        open_files: Some(open_files),
    };
    let reports = to_server.clone();
    let source = Some(Arc::new(FleetSource(fetcher.clone())) as Arc<dyn ReleaseSource>);
    let agent = Agent::start(config, store, source, move |report| {
        reports.send(FromMember::Report { report });
    });
    let end = HostEnd {
        agent: agent.map_err(|error| failed(&error))?,
        data: data.to_owned(),
        to_server,
        record,
        fetcher,
        confirmer: confirmer.clone(),
        confirms_at,
    };
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    tracing::info!(%name, "instances of the fleet run here");
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = member.run(&end) => Some(ended),
            () = asked_to_end(signals) => None,
            never = answer_proxies(&confirmer, confirms) => match never {},
        }
    });
    // The agent takes no more commands; instances go on.
    drop(end);
    match ended {
        Some(MemberEnded::Removed) => leave(data),
        None => Ok(()),
    }
}

/// Returns where proxies ask which instances still listen; `None` if nobody is to, or it is not possible. Instances do
/// not depend on it.
fn listen_for_proxies(port: ConfirmPort) -> Option<TcpListener> {
    let ConfirmPort(Some(port)) = port else { return None };
    let any =
        [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), (Ipv4Addr::UNSPECIFIED, port).into()];
    match TcpListener::bind(&any[..]) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(
                %error, port,
                "proxies cannot ask for instances after a power loss; choose another port with --confirm"
            );
            None
        }
    }
}

/// Answers proxies, if there is a listener for them. Never returns.
async fn answer_proxies(confirmer: &Confirmer, listener: Option<TcpListener>) -> Infallible {
    if let Some(listener) = listener {
        match confirmer.run(listener).await {
            Ok(never) => match never {},
            Err(error) => tracing::error!(%error, "proxies are not answered"),
        }
    }
    std::future::pending().await
}

async fn asked_to_end(mut signals: Signals) {
    while signals.next().await != SignalAction::End {}
}

/// Stops the instances and deletes what the host has of releases, values of variables above all, since it is
/// no member any more. State folders of apps stay.
fn leave(data: &Path) -> Result<(), CommandError> {
    let act = "leave the fleet";
    tracing::warn!("this host was removed from its fleet: its instances are stopped");
    let stopped = agent::stop_all(data, GRACE).map_err(|error| CommandError::new(act, &error))?;
    // The agent's own store may still hold some for a deploy.
    ReleaseStore::open(data)
        .and_then(|store| store.collect(&BTreeMap::new(), Duration::ZERO))
        .map_err(|error| CommandError::new(act, &error))?;
    tracing::info!("{} instances were stopped", stopped.len());
    Ok(())
}

/// The host's end of the link.
struct HostEnd {
    agent: Agent,
    data: PathBuf,
    to_server: ToServer,
    record: LinkRecord,
    fetcher: Fetcher,
    confirmer: Confirmer,
    /// The port at which proxies are answered, if they are.
    confirms_at: Option<u16>,
}

impl HostEnd {
    /// Answers a question for output, from a thread that may wait for the disk.
    fn read_logs(&self, question: u64, request: LogRequest) {
        let (data, to_server) = (self.data.clone(), self.to_server.clone());
        tokio::task::spawn_blocking(move || {
            let page = agent::logs::answer(&data, &request, PAGE_BYTES);
            let answer = page.map_err(|error| error.to_string());
            to_server.send(FromMember::Logs { question, answer });
        });
    }
}

impl MemberEnd for HostEnd {
    fn hello(&self) -> Hello {
        Hello {
            version: VERSION,
            segue: env!("CARGO_PKG_VERSION").into(),
            boot: agent::boot_id(),
            obeyed: None,
            offers: Offers::Host {
                abilities: self.agent.abilities().clone(),
                numbers: agent::numbers(&self.data).unwrap_or_default(),
                confirm: self.confirms_at,
            },
        }
    }

    fn receive(&self, message: ToMember) {
        match message {
            ToMember::Host { by, command } => {
                self.record.obeyed(by);
                self.agent.handle(by.term, command);
            }
            ToMember::ReadLogs { question, request } => self.read_logs(question, request),
            ToMember::Welcome(_)
            | ToMember::Heartbeat
            | ToMember::Prepare { .. }
            | ToMember::Commit { .. }
            | ToMember::Health { .. }
            | ToMember::Settings { .. }
            | ToMember::CookieKeys { .. }
            | ToMember::Duty { .. }
            | ToMember::Hosts { .. }
            | ToMember::Reach { .. }
            | ToMember::Removed
            | ToMember::Unknown => {}
        }
    }

    fn connected(&self, welcome: &Welcome) {
        self.record.connected(welcome);
        if !welcome.servers.is_empty() {
            self.fetcher.move_to(welcome.servers.clone());
        }
    }

    fn disconnected(&self, why: &LinkError) {
        self.record.disconnected(why);
    }

    fn renewed(&self, credentials: &Credentials) {
        self.record.renewed(credentials);
        if let Err(error) = self.fetcher.show(credentials) {
            tracing::warn!(%error, "the renewed certificate cannot be used for files");
        }
        if let Err(error) = self.confirmer.show(credentials) {
            tracing::warn!(%error, "the renewed certificate cannot be shown to proxies");
        }
    }
}

/// The server as the source of what instances need.
struct FleetSource(Fetcher);

impl FleetSource {
    async fn get(&self, request: ContentRequest) -> Result<SourceReader, SourceError> {
        self.0.fetch(&request).await.map_err(|error| {
            if error.is_refusal() {
                SourceError::Refused(error.to_string())
            } else {
                SourceError::Unavailable(model::in_full(&error))
            }
        })
    }
}

impl ReleaseSource for FleetSource {
    fn manifest<'a>(&'a self, app: &'a AppName, digest: Digest) -> Request<'a, SourceReader> {
        Box::pin(self.get(ContentRequest::Manifest { app: app.clone(), digest }))
    }

    fn content<'a>(
        &'a self,
        app: &'a AppName,
        digest: Digest,
        from: u64,
    ) -> Request<'a, SourceReader> {
        Box::pin(self.get(ContentRequest::Blob { app: app.clone(), digest, from }))
    }

    fn value<'a>(&'a self, app: &'a AppName, name: &'a str, digest: Digest) -> Request<'a, Secret> {
        Box::pin(async move {
            let request = ContentRequest::Value { app: app.clone(), name: name.to_owned(), digest };
            let mut value = String::new();
            let reader = self.get(request).await?;
            let read = reader.take(LONGEST_VALUE).read_to_string(&mut value).await;
            read.map_err(|error| SourceError::Unavailable(error.to_string()))?;
            Ok(Secret::new(value))
        })
    }
}
