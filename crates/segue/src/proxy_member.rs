//! `segue proxy --data`: a load balancer that is a member of a fleet. It serves users from the table that it
//! saved last, and depends on nothing else; it gets newer ones from the server when that is there.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cli::{CommandError, ProxyOptions};
use identity::Credentials;
use link::{
    FromMember, Hello, LinkError, Member, MemberEnd, MemberEnded, Offers, ToMember, ToServer,
    VERSION, Welcome,
};
use model::{Abilities, ProxySettings, Role, Snapshot, in_full};
use proxy::snapshot_file::SavedSnapshot;
use proxy::{Proxy, SignalAction, Signals};
use sd_notify::NotifyState;
use wire::Secret;

use crate::cookie_keys::CookieKeys;
use crate::data_folder::DataFolder;
use crate::floating::FloatingAddress;
use crate::front::DRAIN;
use crate::link_record::LinkRecord;
use crate::membership::Membership;
use crate::proxy_files::ProxyFiles;
use crate::reach_news::ProxyReports;
use crate::saving_proxy::SavingProxy;
use crate::service_duty::ServiceDuty;
use crate::usable_table::UsableTable;
use crate::{table_of_before_boot, test_hooks};

/// Serves users until a signal comes, or the proxy is removed from its fleet.
pub fn run(options: &ProxyOptions, data: &Path) -> Result<(), CommandError> {
    let failed = |error: &dyn std::error::Error| CommandError::new("run the proxy", error);
    if let Some(admin) = options.admin {
        server::may_bind(admin).map_err(|error| failed(&error))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let signals = runtime.block_on(async { Signals::listen() }).map_err(|error| failed(&error))?;
    let (folder, _lock) = DataFolder::claim(data)?;
    let serving = Serving::start(options, folder.path())?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = serving.be_a_member(options) => ended.map(Some),
            () = asked_to_end(signals, serving.proxy.clone()) => Ok(None),
            never = serving.duty.follow() => match never {},
        }
    });
    runtime.block_on(serving.duty.end());
    tracing::info!("ending: requests in flight get {} s", DRAIN.as_secs());
    serving.proxy.drain(DRAIN);
    serving.proxy.join();
    match ended? {
        // It must not serve the table when it is no member any more.
        Some(MemberEnded::Removed) => {
            tracing::warn!("this proxy was removed from its fleet");
            serving.files.delete()
        }
        None => Ok(()),
    }
}

/// Waits for the signal to end. Meanwhile reopens the access log on each signal to reload.
async fn asked_to_end(mut signals: Signals, proxy: Proxy) {
    while signals.next().await == SignalAction::Reload {
        let proxy = proxy.clone();
        let reopened = tokio::task::spawn_blocking(move || proxy.reopen_access_log()).await;
        match reopened {
            Ok(Ok(())) => tracing::info!("SIGHUP: the access log, if there is one, is reopened"),
            Ok(Err(error)) => tracing::error!(error = in_full(&error), "the access log stays"),
            // A panic on that thread has been printed already.
            Err(_) => {}
        }
    }
}

/// The proxy that serves users, whether there is a server or not.
struct Serving {
    data: PathBuf,
    files: ProxyFiles,
    proxy: Proxy,
    usable: UsableTable,
    duty: Arc<ServiceDuty>,
    floating: Option<Arc<FloatingAddress>>,
    /// The table that was saved before the machine was booted.
    before_boot: Option<Snapshot>,
    /// Whether any table was saved.
    has_saved: bool,
    /// The way to the server, once there is one.
    to_server: Arc<OnceLock<ToServer>>,
    reports: Arc<ProxyReports>,
}

impl Serving {
    /// Starts to serve users from the saved table, unless it was saved before the machine was booted.
    fn start(options: &ProxyOptions, data: &Path) -> Result<Self, CommandError> {
        let failed = |error: &proxy::Error| CommandError::new("run the proxy", error);
        let mut config = proxy::Config::new(vec![options.listen]);
        config.workers = options.workers.map_or(config.workers, usize::from);
        config.access_log = options.access_log.clone().file();
        config.release_memory = crate::sys::release_memory;
        let files = ProxyFiles::of(data);
        let ProxySettings { limits, trusted_proxies, trusted_networks } = files.settings();
        config.limits = limits.into();
        config.trusted_proxies = trusted_proxies;
        config.trusted_networks = trusted_networks;
        config.affinity_keys = files.keys().to_proxy();
        let bound = Proxy::bind(config).map_err(|error| {
            failed(&error).hint("another program listens there; choose another with --listen")
        })?;
        let admin = options.admin.map(proxy::admin::bind).transpose();
        let admin = admin.map_err(|error| failed(&error))?;
        let saved = files.table();
        let has_saved = saved.is_some();
        let SavedSnapshot { snapshot, boot } = saved.unwrap_or_default();
        let is_of_this_boot = boot.is_none_or(|boot| boot == test_hooks::boot_id());
        let (initial, before_boot) = match is_of_this_boot {
            true => (snapshot, None),
            false => (Snapshot::default(), Some(snapshot)),
        };
        let to_server = Arc::new(OnceLock::<ToServer>::new());
        let reports = Arc::new(ProxyReports::new(Arc::clone(&to_server)));
        let own = Arc::clone(&reports);
        let proxy = bound.start(&initial, move |report| own.send(report));
        let proxy = proxy.map_err(|error| failed(&error))?;
        let usable = UsableTable::of(proxy.clone());
        let floating = options.floating.floating.map(|address| {
            let file = options.floating.track_file.clone();
            FloatingAddress::start(address, file, proxy.clone(), usable.clone())
        });
        let floating = floating.transpose().map_err(|error| {
            let file = options.floating.track_file.display();
            CommandError::new(format!("tell keepalived of this proxy in {file}"), &error)
                .hint("choose another file with --track-file")
        })?;
        let to = to_server.clone();
        let duty = ServiceDuty::new(proxy.clone(), files.duty(), to, floating.clone());
        let duty = Arc::new(duty);
        if let Some(listener) = admin {
            let (duty, usable) = (duty.watch(), usable.clone());
            let is_ready = move || duty.borrow().is_active() && usable.is_there();
            proxy::admin::start(listener, proxy.clone(), is_ready)
                .map_err(|error| failed(&error))?;
        }
        for http in proxy.local_addrs() {
            tracing::info!("apps are served on http://{http}");
        }
        let data = data.to_owned();
        Ok(Self {
            data,
            files,
            proxy,
            usable,
            duty,
            floating,
            before_boot,
            has_saved,
            to_server,
            reports,
        })
    }

    /// Keeps a session with the server until the proxy is removed from its fleet. An identity that cannot be
    /// used is an error only if there is nothing to serve.
    async fn be_a_member(&self, options: &ProxyOptions) -> Result<MemberEnded, CommandError> {
        let (join, servers) = (options.member.join.as_deref(), &options.member.servers);
        let membership =
            match Membership::open_or_join(&self.data, Role::Proxy, join, servers).await {
                Ok(membership) => membership,
                Err(error) if self.has_saved => {
                    let CommandError { act, cause, .. } = error;
                    tracing::error!("users are served by the saved table alone: {act}: {cause}");
                    let _ = sd_notify::notify(&[NotifyState::Ready]);
                    match self.use_table_of_before_boot().await {}
                }
                Err(error) => return Err(error),
            };
        let name = membership.credentials.own().identity.name.clone();
        let (member, record) = LinkRecord::begin(membership, "users are served by the last table");
        let end = ProxyEnd::new(self, &member, record);
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        tracing::info!(%name, "users of the fleet are served here");
        let ended = tokio::select! {
            ended = member.run(&end) => ended,
            never = self.use_table_of_before_boot() => match never {},
        };
        Ok(ended)
    }
}

impl Serving {
    /// Uses a table that was saved before the machine was booted, as far as its hosts confirm it, if control gives
    /// none in time. Never returns.
    async fn use_table_of_before_boot(&self) -> Infallible {
        let used = |is_useful: bool| {
            self.usable.is_unconfirmed(!is_useful);
            self.floating.iter().for_each(|it| it.uses_table_of_before_boot(true));
        };
        match &self.before_boot {
            Some(saved) => {
                table_of_before_boot::follow(saved, &self.proxy, &self.files, used).await
            }
            None => std::future::pending().await,
        }
    }
}

/// The proxy's end of the link.
struct ProxyEnd {
    table: Mutex<SavingProxy>,
    duty: Arc<ServiceDuty>,
    floating: Option<Arc<FloatingAddress>>,
    files: ProxyFiles,
    to_server: ToServer,
    reports: Arc<ProxyReports>,
    record: LinkRecord,
}

impl ProxyEnd {
    fn new(serving: &Serving, member: &Member, record: LinkRecord) -> Self {
        let files = serving.files.clone();
        let (proxy, saved) = (serving.proxy.clone(), files.table.clone());
        let table = SavingProxy::new(proxy, saved, Some(test_hooks::boot_id()));
        let to_server = serving.to_server.get_or_init(|| member.to_server()).clone();
        let reports = Arc::clone(&serving.reports);
        let (duty, floating) = (serving.duty.clone(), serving.floating.clone());
        Self { table: Mutex::new(table), duty, floating, files, to_server, reports, record }
    }

    /// Uses other keys for users' cookies, and keeps them for the next start.
    fn use_keys(&self, keys: &Secret) {
        match CookieKeys::parse(keys.expose()) {
            Ok(keys) => {
                self.table().proxy().set_affinity_keys(&keys.to_proxy());
                match self.files.keep_keys(&keys) {
                    Ok(()) => {
                        let keys = keys.fingerprint();
                        self.to_server.send(FromMember::CookieKeys { keys });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the keys of users' cookies are not saved");
                    }
                }
            }
            Err(error) => tracing::error!(%error, "the server's keys cannot be used"),
        }
    }

    /// Sends a report at once, for an event that the proxy does not report by itself.
    fn report(&self) {
        let report = self.table().proxy().report();
        self.reports.send(report);
    }

    fn table(&self) -> MutexGuard<'_, SavingProxy> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemberEnd for ProxyEnd {
    fn hello(&self) -> Hello {
        let epoch = self.table().proxy().observe().epoch;
        Hello {
            version: VERSION,
            segue: env!("CARGO_PKG_VERSION").into(),
            boot: test_hooks::boot_id(),
            obeyed: None,
            offers: Offers::Proxy { abilities: Abilities::default(), epoch },
        }
    }

    fn receive(&self, message: ToMember) {
        match message {
            ToMember::Prepare { by, snapshot } => {
                self.record.obeyed(by);
                self.table().prepare(snapshot.value().clone());
                self.report();
            }
            ToMember::Commit { by, generation } => {
                self.record.obeyed(by);
                self.table().commit(generation);
                self.floating.iter().for_each(|it| it.uses_table_of_before_boot(false));
            }
            ToMember::Health { by, table } => {
                self.record.obeyed(by);
                self.table().set_health(table.value().clone());
            }
            ToMember::Settings { by, settings } => {
                self.record.obeyed(by);
                self.table().proxy().set_settings(&settings);
                self.files.keep_settings(&settings);
            }
            ToMember::CookieKeys { by, keys } => {
                self.record.obeyed(by);
                self.use_keys(&keys);
            }
            ToMember::Duty { by, duty } => {
                self.record.obeyed(by);
                self.files.keep_duty(duty);
                self.duty.set(duty);
            }
            ToMember::Hosts { by, confirm, complete } => {
                self.record.obeyed(by);
                self.files.keep_hosts(&confirm, complete);
            }
            ToMember::Reach { by, targets } => {
                self.record.obeyed(by);
                if let Err(error) = self.table().proxy().ask_instances(&targets) {
                    tracing::error!(error = in_full(&error), "no instance is asked");
                }
            }
            ToMember::Welcome(_)
            | ToMember::Heartbeat
            | ToMember::Host { .. }
            | ToMember::ReadLogs { .. }
            | ToMember::Removed
            | ToMember::Unknown => {}
        }
    }

    fn connected(&self, welcome: &Welcome) {
        self.record.connected(welcome);
        self.floating.iter().for_each(|it| it.control_is_heard(true));
        self.reports.begin_anew();
        self.report();
        self.duty.tell();
    }

    fn disconnected(&self, why: &LinkError) {
        self.record.disconnected(why);
        self.floating.iter().for_each(|it| it.control_is_heard(false));
    }

    fn renewed(&self, credentials: &Credentials) {
        self.record.renewed(credentials);
    }
}
