//! Settings of a recovered engine, made before its first step.

use model::{
    Abilities, Health, HostHello, HostId, HostReport, InstanceId, Listeners, ProxyHello, ProxyId,
    ProxyLink,
};

use super::Engine;

impl Engine {
    /// Sets the number of releases of each app stored besides those on offer. Default: [`App::KEPT`].
    #[must_use]
    pub fn keeping(self, keep_releases: u16) -> Self {
        Self { keep_releases, ..self }
    }

    /// Sets the maximum number of apps. The default is [`Engine::APPS`].
    #[must_use]
    pub fn limited_to(self, most_apps: usize) -> Self {
        Self { most_apps, ..self }
    }

    /// Adds a host whose agent is connected. The host joins the fleet if it has not. All other hosts of the
    /// fleet are silent until their agents connect. The host `local` is always here.
    #[must_use]
    pub fn with_host(mut self, host: HostId, hello: HostHello) -> Self {
        self.hosts.said(host, hello);
        self
    }

    /// Sets what proxies can do. A proxy that is not named can do everything.
    #[must_use]
    pub fn with_proxies(
        mut self,
        abilities: impl IntoIterator<Item = (ProxyId, Abilities)>,
    ) -> Self {
        for (id, abilities) in abilities {
            self.routing.proxies.set_abilities(&id, abilities);
        }
        self
    }

    /// Adds the connection of a proxy on another machine, if it is a member of the fleet.
    #[must_use]
    pub fn with_proxy(mut self, proxy: &ProxyId, hello: ProxyHello) -> Self {
        self.routing.proxies.link(proxy, ProxyLink::Up(hello), self.last_fact);
        self
    }

    /// Marks instances at whose address another program listens, with the evidence. All of them appear
    /// in the first health table.
    #[must_use]
    pub fn with_strangers(
        mut self,
        strangers: impl IntoIterator<Item = (InstanceId, String)>,
    ) -> Self {
        for (id, why) in strangers {
            let (app, number) = (id.app.clone(), id.number);
            let known = self.apps.get(&app);
            if !known.is_some_and(|managed| managed.app.instances.contains_key(&number)) {
                continue;
            }
            let report = HostReport::Health {
                id,
                health: Health::Down,
                streak: 1,
                note: Some(why),
                unanswered: false,
                listeners: Listeners::Foreign,
            };
            let at = self.last_fact;
            self.apps.change(&app, |managed| managed.report(number, report, at));
        }
        self
    }
}
