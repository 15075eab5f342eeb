//! The words about a fleet: its members, the agent of a host, and a proxy on a machine of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use model::{HostId, Invalid, MemberName, Millis};

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct FleetOptions {
    #[command(subcommand)]
    pub(crate) verb: Option<FleetVerb>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum FleetVerb {
    /// Print an invite: the one word with which a machine joins. It works once, for one hour.
    Invite(InviteOptions),
    /// Take in a member that the server does not know, as after a restore from a backup. `segue fleet` lists them.
    Accept(AcceptOptions),
    /// Change the address at which a host's instances listen.
    Address(AddressOptions),
    /// Print a firewall for a member's machine, as rules for nftables.
    Firewall(FirewallOptions),
    /// Let a host keep what it runs and get nothing new.
    Cordon(HostOptions),
    /// Let a host get new instances again, or a proxy take users' requests again.
    Uncordon(MemberOptions),
    /// Take a member out of service and wait until it is: a host's instances are replaced on other hosts; a proxy
    /// closes each of its clients' connections after the next answer.
    Drain(DrainOptions),
    /// Print the configuration with which keepalived gives a floating address to one of several proxies.
    Keepalived(KeepalivedOptions),
    /// Remove a member, or take back its invite.
    Remove(RemoveMemberOptions),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct InviteOptions {
    /// What the machine will do: a host runs instances, a proxy takes users' requests to them.
    #[arg(value_enum, value_name = "host|proxy", hide_possible_values = true)]
    pub(crate) role: InvitedRole,
    /// The member's name, which no other member has.
    pub(crate) name: MemberName,
    /// A label, by which apps choose their hosts: role=web. May be given more than once.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// The address at which its instances listen [default: the one that it connects from].
    #[arg(long, value_name = "IP")]
    pub(crate) address: Option<IpAddr>,
    /// Let it take the place of a member of that name whose machine is gone.
    #[arg(long)]
    pub(crate) replace: bool,
}

/// The roles that can be invited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InvitedRole {
    /// Runs instances.
    Host,
    /// Takes users' requests to instances.
    Proxy,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct HostOptions {
    /// The host.
    pub(crate) host: HostId,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AcceptOptions {
    /// The member.
    pub(crate) name: MemberName,
    /// A label, by which apps choose their hosts: role=web. May be given more than once.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// The address at which its instances listen [default: the one that it connects from].
    #[arg(long, value_name = "IP")]
    pub(crate) address: Option<IpAddr>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AddressOptions {
    /// The host.
    pub(crate) host: HostId,
    /// The address.
    #[arg(value_name = "IP")]
    pub(crate) address: IpAddr,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct FirewallOptions {
    /// The member, or `server`.
    pub(crate) name: MemberName,
    /// An address besides those that the server knows, of a machine that is yet to join. May be given more than once.
    #[arg(long, value_name = "IP")]
    pub(crate) also: Vec<IpAddr>,
    /// The ports of instances.
    #[arg(long, value_name = "FIRST-LAST", default_value = "20000-29999", value_parser = ports)]
    pub(crate) ports: String,
    /// Where the host confirms its instances to proxies: its own --confirm.
    #[arg(long, value_name = "PORT|off", default_value = "7444")]
    pub(crate) confirm: ConfirmPort,
}

/// Checks a range of ports, which is used as it is written.
fn ports(text: &str) -> Result<String, &'static str> {
    let wrong = "it is not FIRST-LAST, as in 20000-29999";
    let (first, last) = text.split_once('-').ok_or(wrong)?;
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(wrong);
    if port(first)? <= port(last)? { Ok(text.to_owned()) } else { Err(wrong) }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MemberOptions {
    /// The member.
    pub(crate) name: MemberName,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DrainOptions {
    /// The member.
    pub(crate) name: MemberName,
    /// Time after which a proxy cuts the connections that are left [default: 30 s more than one may be idle].
    #[arg(long, value_name = "DURATION", value_parser = wire::parse_duration)]
    pub(crate) within: Option<Millis>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct KeepalivedOptions {
    /// The proxies, the one that is to have the address first. With =IP, the others reach it there; without, at the
    /// address that it connects to the server from.
    #[arg(required = true, num_args = 2.., value_name = "NAME[=IP]")]
    pub(crate) proxies: Vec<NamedProxy>,
    /// The floating address, and the length of its network's prefix: 10.0.0.200/24.
    #[arg(long, value_name = "IP/LENGTH")]
    pub(crate) floating: IpInNetwork,
    /// The interface that gets it.
    #[arg(long, value_name = "NAME", value_parser = interface)]
    pub(crate) interface: String,
    /// Print only the configuration of this proxy, without a heading: for a file on its machine.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<MemberName>,
    /// The number by which keepalived knows the address, which nothing else in that network has.
    #[arg(long, value_name = "1-255", default_value_t = 51, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) router_id: u8,
    /// Where each proxy writes its priority: its own --track-file.
    #[arg(long, value_name = "FILE", default_value = TRACK_FILE, value_parser = track_file)]
    pub(crate) track_file: PathBuf,
}

/// A proxy, and where the other proxies reach it if that is not where it connects from.
#[derive(Clone, Debug)]
pub(crate) struct NamedProxy {
    pub(crate) name: MemberName,
    pub(crate) address: Option<IpAddr>,
}

impl FromStr for NamedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, address) = match text.split_once('=') {
            Some((name, address)) => {
                let wrong = |_| format!("`{address}` is no IP address");
                (name, Some(address.parse().map_err(wrong)?))
            }
            None => (text, None),
        };
        Ok(Self { name: name.parse().map_err(|error: Invalid| error.to_string())?, address })
    }
}

/// An address, with the length of its network's prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpInNetwork {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

impl FromStr for IpInNetwork {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "it is not IP/LENGTH, as in 10.0.0.200/24 or fd00::200/64";
        let (address, prefix) = text.split_once('/').ok_or(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong)?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if (1..=most).contains(&prefix) { Ok(Self { address, prefix }) } else { Err(wrong) }
    }
}

/// Checks the name of an interface, which is used as it is written.
fn interface(text: &str) -> Result<String, &'static str> {
    let is_part = |it: char| it.is_ascii_alphanumeric() || "-_.@".contains(it);
    let is_name = (1..=15).contains(&text.len()) && text.chars().all(is_part);
    if is_name { Ok(text.to_owned()) } else { Err("it is no name of an interface") }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RemoveMemberOptions {
    /// The member.
    pub(crate) name: MemberName,
    /// Remove it although it runs instances: they are stopped, and requests on them are lost.
    #[arg(long)]
    pub(crate) now: bool,
}

fn label(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("a label is KEY=VALUE, as in role=web")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The server's door for members of its fleet.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DoorOptions {
    /// Where members of the fleet connect, over TLS [default: no door].
    #[arg(long, value_name = "ADDR:PORT")]
    pub fleet: Option<SocketAddr>,
    /// Where members reach that, as HOST:PORT [default: --fleet, if it names one address]. May be given more
    /// than once.
    #[arg(long, value_name = "HOST:PORT", requires = "fleet", value_parser = host_port)]
    pub advertise: Vec<String>,
}

/// `segue agent`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct AgentOptions {
    /// The data folder, used by one agent at a time.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The invite with which the host joins its fleet, needed once: the word itself, `-` for standard input, or
    /// @FILE.
    #[arg(long, value_name = "INVITE|-|@FILE")]
    pub join: Option<String>,
    /// Where the server is, instead of where it was: HOST:PORT, more than one separated by commas.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = host_port)]
    pub servers: Vec<String>,
    /// Where proxies of the fleet ask which instances still listen, when they start after a power loss and there is no
    /// server: a port, or `off`.
    #[arg(long, value_name = "PORT|off", default_value = "7444")]
    pub confirm: ConfirmPort,
}

/// The port at which a host confirms its instances to proxies; `None` is `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmPort(pub Option<u16>);

impl FromStr for ConfirmPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse()) {
            ("off", _) => Ok(Self(None)),
            (_, Ok(port)) if port > 0 => Ok(Self(Some(port))),
            _ => Err("it is neither a port nor `off`"),
        }
    }
}

/// The options of a proxy that is a member of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "For the server of a fleet")]
pub struct ProxyMemberOptions {
    /// The data folder, used by one proxy at a time.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The invite with which the proxy joins its fleet, needed once: the word itself, `-` for standard input,
    /// or @FILE.
    #[arg(long, value_name = "INVITE|-|@FILE", requires = "data", conflicts_with = "upstreams")]
    pub join: Option<String>,
    /// Where the server is, instead of where it was: HOST:PORT, more than one separated by commas.
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        value_parser = host_port,
        requires = "data",
        conflicts_with = "upstreams"
    )]
    pub servers: Vec<String>,
}

/// The address that several proxies share, of which one has it at a time.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "For the server of a fleet")]
pub struct FloatingOptions {
    /// The address that users come to, which keepalived gives to one of the proxies: see `segue fleet keepalived`.
    #[arg(long, value_name = "IP", requires = "data", conflicts_with = "upstreams")]
    pub floating: Option<IpAddr>,
    /// Where the priority for that is written for keepalived.
    #[arg(
        long,
        value_name = "FILE",
        requires = "floating",
        default_value = TRACK_FILE,
        value_parser = track_file
    )]
    pub track_file: PathBuf,
}

/// Where a proxy writes its priority for keepalived.
const TRACK_FILE: &str = "/run/segue-proxy/priority";

/// Checks the path of a file that keepalived reads: its configuration has it as it is written.
fn track_file(text: &str) -> Result<PathBuf, &'static str> {
    let is_plain = |it: char| !it.is_control() && !it.is_whitespace() && !"\"\\$".contains(it);
    match text.starts_with('/') && text.chars().all(is_plain) {
        true => Ok(text.into()),
        false => {
            Err("it is no absolute path, or has spaces, quotes or `$`, which keepalived reads")
        }
    }
}

/// Checks the text of a host and a port, which is used as it is written.
fn host_port(text: &str) -> Result<String, &'static str> {
    let wrong = "it is not HOST:PORT, as in segue.internal:7443 or [fd00::1]:7443";
    let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_v6 = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty() && (is_v6 || !host.contains(':')) && !host.contains('/');
    if is_port && is_host { Ok(text.to_owned()) } else { Err(wrong) }
}
