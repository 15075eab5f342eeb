//! `segue fleet firewall`: prints rules for nftables that let in what a member's machine needs, and nothing else at the
//! same ports. What the machine is used for besides is left alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use wire::FleetStatus;

use crate::args::{ConfirmPort, ConnectionOptions, FirewallOptions};
use crate::{CommandError, ExitStatus, Io};

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &FirewallOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let name = options.name.as_str();
    let act = format!("print a firewall for {name}");
    let client = connection.client(&act)?;
    let fleet = client.fleet().map_err(|error| CommandError::client(&*act, &error))?;
    let hosts = fleet.hosts.iter().map(|host| (&host.name, host.address));
    let proxies = fleet.proxies.iter().map(|proxy| (&proxy.name, proxy.address));
    let mut others = hosts.chain(proxies).filter(|(other, _)| *other != name && *other != "local");
    if let Some((other, _)) = others.find(|(_, address)| address.is_none()) {
        let why = format!("the address of {other} is not known: it has not connected");
        let hint = format!("start it first, or remove it: `segue fleet remove {other}`");
        return Err(CommandError::because(act, why).hint(hint));
    }
    let is_server = name == "local" || fleet.servers.iter().any(|server| server.name == name);
    let mut rules = if is_server {
        of_server(&fleet)
    } else if fleet.hosts.iter().any(|host| host.name == name) {
        of_host(&fleet, options)
    } else if fleet.proxies.iter().any(|proxy| proxy.name == name) {
        of_proxy(&fleet, name)
    } else {
        let hint = "`segue fleet` lists them; `server` is the server's own machine";
        return Err(CommandError::because(act, "there is no such member").hint(hint));
    };
    rules.iter_mut().for_each(|rule| rule.from.extend(&options.also));
    io.data(table(&rules).trim_end());
    Ok(ExitStatus::Done)
}

/// Something that listens on the machine, and who may come to it.
struct Allowed {
    what: &'static str,
    /// Matches of the traffic that comes, in the words of nftables.
    matches: String,
    from: Vec<IpAddr>,
}

/// Members come to the door.
fn of_server(fleet: &FleetStatus) -> Vec<Allowed> {
    let ports = fleet.servers.iter().flat_map(|server| &server.addresses);
    let ports = ports.filter_map(|address| address.rsplit_once(':')?.1.parse().ok());
    let ports: BTreeSet<u16> = ports.collect();
    let hosts = fleet.hosts.iter().filter(|host| host.name != "local");
    let from: Vec<IpAddr> = hosts.filter_map(|host| host.address).chain(proxies(fleet)).collect();
    let door = |port: u16| Allowed {
        what: "members of the fleet",
        matches: format!("tcp dport {port}"),
        from: from.clone(),
    };
    ports.into_iter().map(door).collect()
}

/// Load balancers come to the instances, the server's own among them, and ask for them.
fn of_host(fleet: &FleetStatus, options: &FirewallOptions) -> Vec<Allowed> {
    let FirewallOptions { ports, confirm: ConfirmPort(confirm), .. } = options;
    let servers = fleet.servers.iter().flat_map(|server| &server.addresses);
    let servers = servers.filter_map(|address| address.parse::<SocketAddr>().ok());
    let instances = Allowed {
        what: "users' requests, from load balancers",
        matches: format!("tcp dport {ports}"),
        from: proxies(fleet).chain(servers.map(|address| address.ip())).collect(),
    };
    let asks = confirm.map(|port| Allowed {
        what: "load balancers that ask which instances listen",
        matches: format!("tcp dport {port}"),
        from: proxies(fleet).collect(),
    });
    [instances].into_iter().chain(asks).collect()
}

/// The other load balancers say who has a floating address.
fn of_proxy(fleet: &FleetStatus, name: &str) -> Vec<Allowed> {
    let others = fleet.proxies.iter().filter(|proxy| proxy.name != name);
    let vrrp = Allowed {
        what: "VRRP, from load balancers with the same floating address",
        matches: "meta l4proto vrrp".into(),
        from: others.filter_map(|proxy| proxy.address).collect(),
    };
    Vec::from([vrrp])
}

fn proxies(fleet: &FleetStatus) -> impl Iterator<Item = IpAddr> {
    fleet.proxies.iter().filter_map(|proxy| proxy.address)
}

/// Returns the rules in a table of their own, which takes the place of an earlier one.
fn table(rules: &[Allowed]) -> String {
    let mut text = String::from(
        "table inet segue\ndelete table inet segue\ntable inet segue {\n    chain input {\n        \
         type filter hook input priority filter; policy accept;\n        \
         iifname \"lo\" accept\n        ct state established,related accept\n",
    );
    for Allowed { what, matches, from } in rules {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "        # {what}");
        for (family, is_v4) in [("ip", true), ("ip6", false)] {
            let of_family = from.iter().filter(|address| address.is_ipv4() == is_v4);
            let addresses: BTreeSet<String> = of_family.map(ToString::to_string).collect();
            if !addresses.is_empty() {
                let list = addresses.into_iter().collect::<Vec<_>>().join(", ");
                let _ = writeln!(text, "        {family} saddr {{ {list} }} {matches} accept");
            }
        }
        let _ = writeln!(text, "        {matches} drop");
    }
    text.push_str("    }\n}\n");
    text
}
