//! Adapters that implement the interfaces of control and of the API with the agent, the store and the proxy
//! of this server. They translate and keep no data.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use control::{HostLinks, ProxyLinks};
use model::{AppName, HostId, InstanceView, ProxyCommand, ProxyId, ToHost, ToProxy, TrafficReport};
use server::{ApiHost, AppViews};
use wire::{LogPage, LogRequest};

use crate::fleet::{Desk, RemoteHosts, RemoteProxies};
use crate::saving_proxy::SavingProxy;

/// The largest number of bytes of output in one page, of all instances of an app together.
const PAGE_BYTES: usize = 16 << 20;

/// The agent in this server.
pub struct LocalHost(pub Arc<agent::Agent>);

impl HostLinks for LocalHost {
    fn send(&mut self, to: ToHost) {
        self.0.handle(to.term, to.command);
    }
}

/// The agents of all hosts: the one in this server, and those on other machines.
pub struct AllHosts {
    pub local: LocalHost,
    pub remote: Option<RemoteHosts>,
}

impl HostLinks for AllHosts {
    fn send(&mut self, to: ToHost) {
        match &self.remote {
            Some(remote) if to.host != HostId::local() => remote.send(to),
            Some(_) | None => self.local.send(to),
        }
    }
}

/// The output of instances on all hosts, and the state of apps in this server's data folder.
pub struct HostFiles {
    pub data: PathBuf,
    pub board: Arc<AppViews>,
    pub fleet: Option<Arc<Desk>>,
}

impl HostFiles {
    /// Returns the other hosts that run the instances which a request is about.
    fn other_hosts(&self, request: &LogRequest) -> BTreeSet<HostId> {
        let Some(view) = self.board.view(&request.app) else { return BTreeSet::new() };
        let meant = |it: &&InstanceView| request.instance.as_ref().is_none_or(|id| it.id == *id);
        let hosts = view.instances().filter(meant).map(|instance| instance.host.clone());
        hosts.filter(|host| *host != HostId::local()).collect()
    }
}

impl ApiHost for HostFiles {
    /// Lines of hosts that do not answer are left out. If the server's own host has none and another one does
    /// not answer, that is an error.
    fn logs(&self, request: &LogRequest) -> io::Result<LogPage> {
        let mut page = agent::logs::answer(&self.data, request, PAGE_BYTES);
        let Some(fleet) = &self.fleet else { return page };
        for host in self.other_hosts(request) {
            match (&mut page, fleet.read_logs(&host, request)) {
                (Ok(page), Ok(more)) => {
                    page.lines.extend(more.lines);
                    page.next.0.extend(more.next.0);
                }
                (Err(_), Ok(more)) => page = Ok(more),
                (_, Err(error)) => tracing::warn!(%host, %error, "its output cannot be read"),
            }
        }
        page
    }

    fn running(&self) -> io::Result<u32> {
        agent::running(&self.data)
    }

    fn states(&self) -> io::Result<BTreeMap<AppName, PathBuf>> {
        agent::states(&self.data)
    }
}

/// All proxies: the one in this server, and those on other machines.
pub struct AllProxies {
    pub local: SavingProxy,
    pub remote: Option<RemoteProxies>,
}

impl ProxyLinks for AllProxies {
    fn send(&mut self, to: ToProxy) {
        let ToProxy { proxy, command } = to;
        match (&mut self.remote, command) {
            (Some(remote), command) if proxy != ProxyId::local() => remote.send(&proxy, command),
            (_, ProxyCommand::Prepare(snapshot)) => self.local.prepare(snapshot),
            (_, ProxyCommand::Commit(generation)) => self.local.commit(generation),
            (_, ProxyCommand::Health(table)) => self.local.set_health(table),
        }
    }

    fn sample(&mut self) -> Option<TrafficReport> {
        Some(self.local.proxy().report())
    }
}
