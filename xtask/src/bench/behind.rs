//! The upstreams of a contender: one app with one origin, or a table of many apps with many instances. Also
//! the matching configurations of nginx and HAProxy. In both cases the origin is one program, with an
//! address for each instance.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::capacity::slots;

/// The upstreams of a contender.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    /// Our program.
    pub(super) segue: String,
    /// The arguments of our program besides its own addresses.
    pub(super) words: String,
    apps: Vec<App>,
    /// True if the contenders that can do so probe the instances.
    probed: bool,
    /// The folder for access logs, if requests are logged.
    log: Option<PathBuf>,
}

/// One app, for the configurations of nginx and HAProxy.
#[derive(Clone, Debug)]
struct App {
    name: String,
    /// The app's host. An app without one has all hosts.
    host: Option<String>,
    instances: Vec<SocketAddr>,
}

/// The size of a table. The numbers are `u8` because each has its byte in an instance's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) apps: u8,
    pub(super) instances: u8,
}

impl Size {
    /// Returns the addresses of an app's instances, which the example `table` uses too.
    pub(super) fn addresses(self, app: u8, port: u16) -> impl Iterator<Item = SocketAddr> {
        (1..=self.instances).map(move |one| (Ipv4Addr::new(127, 0, app + 1, one), port).into())
    }

    /// Returns the addresses of all instances.
    pub(super) fn all(self, port: u16) -> Vec<SocketAddr> {
        (0..self.apps).flat_map(|app| self.addresses(app, port)).collect()
    }
}

/// Returns the host of an app of a table.
pub(super) fn host(app: u8) -> String {
    format!("app-{app}.test")
}

impl Behind {
    /// The names of our log and of nginx's, in the folder for logs.
    pub(super) const SEGUE_LOG: &str = "segue.log";
    pub(super) const NGINX_LOG: &str = "nginx.log";

    /// Lets both log one line per request to a file in `folder`.
    pub(super) fn logged(mut self, folder: &Path) -> Self {
        self.words += &format!(" --access-log {}", folder.join(Self::SEGUE_LOG).display());
        self.log = Some(folder.to_owned());
        self
    }

    /// Uses another build of ours.
    pub(super) fn by(mut self, program: &str) -> Self {
        program.clone_into(&mut self.segue);
        self
    }

    /// Returns one app, served by `segue proxy`.
    pub(super) fn one(segue: &str, origin: SocketAddr) -> Self {
        Self {
            segue: segue.to_owned(),
            words: format!("proxy --workers 1 --upstream {origin} --health-path /up"),
            apps: vec![App { name: "origin".to_owned(), host: None, instances: vec![origin] }],
            probed: true,
            log: None,
        }
    }

    /// Returns a table of this size, served by the example `table`. There are no probes: a thousand probes
    /// are not part of a request.
    pub(super) fn table(example: &str, size: Size, port: u16) -> Self {
        let app = |app| App {
            name: format!("app-{app}"),
            host: (size.apps > 1).then(|| host(app)),
            instances: size.addresses(app, port).collect(),
        };
        let Size { apps, instances } = size;
        Self {
            segue: example.to_owned(),
            words: format!("--port {port} --apps {apps} --instances {instances}"),
            apps: (0..apps).map(app).collect(),
            probed: false,
            log: None,
        }
    }

    pub(super) fn nginx(&self, address: SocketAddr) -> String {
        let mut all = String::new();
        for (at, app) in self.apps.iter().enumerate() {
            // nginx accepts an address' options only once.
            let options = if at == 0 { " backlog=4096" } else { "" };
            all += &include_str!("nginx-app.conf")
                .replace("{listen}", &format!("{address}{options}"))
                .replace("{app}", &app.name)
                .replace("{host}", app.host.as_deref().unwrap_or("_"))
                .replace("{servers}", &app.lines(|_, at| format!("    server {at};")));
        }
        let log = self.log.as_ref().map_or_else(
            || "off".to_owned(),
            |folder| format!("{} combined buffer=64k", folder.join(Self::NGINX_LOG).display()),
        );
        include_str!("nginx.conf").replace("{log}", &log).replace("{apps}", &all)
    }

    /// Returns HAProxy's configuration. For several apps it uses a map, which is written into `folder`.
    pub(super) fn haproxy(&self, address: SocketAddr, folder: &Path) -> Result<String, String> {
        let mut all = String::new();
        let check = if self.probed { "  option httpchk GET /up\n" } else { "" };
        for app in &self.apps {
            let option = if self.probed { " check" } else { "" };
            let server = |number, at| format!("  server i{number} {at}{option}");
            all += &include_str!("haproxy-app.cfg")
                .replace("{app}", &app.name)
                .replace("{check}", check)
                .replace("{servers}", &app.lines(server));
        }
        let mut map = String::new();
        for app in &self.apps {
            if let Some(host) = &app.host {
                // Writing to a string cannot fail.
                let _ = writeln!(map, "{host} {}", app.name);
            }
        }
        let choice = if map.is_empty() {
            format!("default_backend {}", self.apps[0].name)
        } else {
            let file = folder.join("haproxy.map");
            fs::write(&file, map).map_err(|error| format!("{}: {error}", file.display()))?;
            format!("use_backend %[req.hdr(host),lower,map({})]", file.display())
        };
        Ok(include_str!("haproxy.cfg")
            .replace("{address}", &address.to_string())
            .replace("{connections}", &slots().to_string())
            .replace("{choice}", &choice)
            .replace(
                "{log}",
                if self.log.is_some() { "  log global\n  option httplog\n" } else { "" },
            )
            .replace("{apps}", &all))
    }

    /// Returns HAProxy's configuration for `mode tcp`, which reads no host and has one instance.
    pub(super) fn haproxy_tcp(&self, address: SocketAddr) -> String {
        include_str!("haproxy-tcp.cfg")
            .replace("{address}", &address.to_string())
            .replace("{connections}", &slots().to_string())
            .replace("{origin}", &self.apps[0].instances[0].to_string())
    }
}

impl App {
    /// Returns one line per instance, numbered.
    fn lines(&self, line: impl Fn(usize, SocketAddr) -> String) -> String {
        let lines = self.instances.iter().enumerate();
        lines.map(|(number, at)| line(number, *at) + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_of_a_table_stands_in_every_configuration() {
        let size = Size { apps: 3, instances: 2 };
        let behind = Behind::table("table", size, 81);
        let address = ([127, 0, 0, 1], 80).into();
        let folder = tempfile::tempdir().unwrap();
        let nginx = behind.nginx(address);
        let haproxy = behind.haproxy(address, folder.path()).unwrap();
        let count = |text: &str, word: &str| text.matches(word).count();
        assert_eq!(size.all(81).len(), 6);
        for at in size.all(81) {
            assert_eq!(count(&nginx, &format!(" {at};")), 1, "{nginx}");
            assert_eq!(count(&haproxy, &format!(" {at}\n")), 1, "{haproxy}");
        }
        assert_eq!((count(&nginx, "listen "), count(&nginx, "backlog")), (3, 1));
        let map = fs::read_to_string(folder.path().join("haproxy.map")).unwrap();
        assert_eq!(map, "app-0.test app-0\napp-1.test app-1\napp-2.test app-2\n");
        assert!(![&nginx, &haproxy].iter().any(|text| text.contains("{a")));
    }

    #[test]
    fn one_app_has_every_host_and_is_probed() {
        let origin = ([127, 0, 0, 1], 81).into();
        let behind = Behind::one("segue", origin);
        let address = ([127, 0, 0, 1], 80).into();
        let haproxy = behind.haproxy(address, Path::new("/nowhere")).unwrap();
        assert!(haproxy.contains("  default_backend origin\n"), "{haproxy}");
        assert!(haproxy.contains("  option httpchk GET /up\n"), "{haproxy}");
        assert!(haproxy.contains("  server i0 127.0.0.1:81 check\n"), "{haproxy}");
        assert!(behind.nginx(address).contains("server_name _;"));
    }
}
