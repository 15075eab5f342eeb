//! The definition of the command line. Help, docs and completions are generated from it.

mod fleet;
mod rollout;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use model::{AppName, InstanceId, Invalid, Network, Upstream};

pub(crate) use crate::connect::ConnectionOptions;
use crate::limit::Limit;

pub(crate) use fleet::{
    AcceptOptions, AddressOptions, DrainOptions, FirewallOptions, FleetOptions, FleetVerb,
    HostOptions, InviteOptions, InvitedRole, KeepalivedOptions, MemberOptions, NamedProxy,
    RemoveMemberOptions,
};
pub use fleet::{AgentOptions, ConfirmPort, DoorOptions, FloatingOptions, ProxyMemberOptions};
pub(crate) use rollout::{
    DeployOptions, FollowOptions, Following, PromoteOptions, ReleaseOptions, RollbackOptions,
};

/// Deploys new versions of a web service without dropping a request, and takes a bad one back.
#[derive(Debug, Parser)]
#[command(
    name = "segue",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 usage, 3 rolled back, 4 unreachable, \
                  5 waits for a person."
)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the server: load balancer, rollouts, instances and API.
    #[command(args(ConnectionOptions::unseen_but_for_data()))]
    Server(ServerOptions),
    /// Deploy a release of the app that segue.toml describes.
    Deploy(DeployOptions),
    /// Show what a deploy would do, and change nothing.
    Plan(PlanOptions),
    /// Show apps: the live release, a rollout under way, and whether a rollback is ready.
    Status(StatusOptions),
    /// List the releases of an app.
    Releases(ListOptions),
    /// Go back to the release before, in one switch.
    Rollback(RollbackOptions),
    /// Approve a rollout that waits for a person: go to its next step, or to all of the traffic.
    Promote(PromoteOptions),
    /// Hold a rollout where it is.
    Pause(AppOptions),
    /// Bring the standby to the live version, as a second set of its own.
    Sync(AppOptions),
    /// Resume a rollout that is held.
    Resume(FollowOptions),
    /// Abort a rollout; the live release stays.
    Abort(FollowOptions),
    /// Replace the instances of the live release, one after the other.
    Restart(FollowOptions),
    /// Change the number of instances of an app, until its file says another one.
    Scale(ScaleOptions),
    /// Close an app for its users, or open it again.
    Maintenance(MaintenanceOptions),
    /// Print the output of an app's instances.
    Logs(LogsOptions),
    /// Show what a rollout cost: requests, failures, the time of the switch.
    Receipt(ReceiptOptions),
    /// Remove an app; its state stays unless --with-state is given.
    Remove(RemoveOptions),
    /// Stop all instances and the server.
    Down,
    /// Read an app file and report errors in it.
    #[command(args(ConnectionOptions::unseen()))]
    Check(CheckOptions),
    /// Show everything on this machine, with an app and load of its own.
    #[command(args(ConnectionOptions::unseen()))]
    Demo(DemoOptions),
    /// Run a load balancer: in front of fixed upstreams, or for the server of a fleet on another machine.
    #[command(args(ConnectionOptions::unseen_but_for_data()))]
    Proxy(ProxyOptions),
    /// Show the members of the fleet, invite and remove them.
    Fleet(FleetOptions),
    /// Run instances on this machine for a server on another one.
    #[command(args(ConnectionOptions::unseen_but_for_data()))]
    Agent(AgentOptions),
    /// Print completions for a shell.
    #[command(args(ConnectionOptions::unseen()))]
    Completions(CompletionsOptions),
    #[command(name = "__shim", hide = true, disable_help_flag = true)]
    Shim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    #[command(name = "__watch", hide = true, disable_help_flag = true)]
    Watch {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    #[command(name = "__exec", hide = true, disable_help_flag = true)]
    Exec {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    #[command(name = "__sample", hide = true)]
    Sample(SampleOptions),
}

/// `segue server`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ServerOptions {
    /// The data folder, used by one server at a time.
    #[arg(long, value_name = "DIR", default_value = "./.segue")]
    pub data: PathBuf,
    /// Where to listen for requests to the apps.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// This machine's address, at which instances on it listen, so that proxies on other machines of the fleet
    /// reach them [default: 127.0.0.1].
    #[arg(long, value_name = "IP")]
    pub address: Option<IpAddr>,
    /// Where the API listens; loopback only, since it speaks no TLS.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7070")]
    pub api: SocketAddr,
    /// Host names that the API answers for, besides the loopback ones.
    #[arg(long = "api-host", value_name = "NAME")]
    pub api_hosts: Vec<String>,
    /// Threads that serve traffic [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Where requests are logged, one JSON line each: a file, or `off`.
    #[arg(long, value_name = "off|FILE", default_value = "off")]
    pub access_log: AccessLogTarget,
    /// A proxy in front, as an address or a network: its X-Forwarded-For, -Proto and -Port are
    /// believed. May be given more than once.
    #[arg(long = "trusted-proxy", value_name = "NETWORK")]
    pub trusted_proxies: Vec<Network>,
    /// A network from which a header, a cookie or a parameter makes a user one of a cohort. May be
    /// given more than once.
    #[arg(
        long = "trusted-network",
        value_name = "NETWORK",
        default_values = ["127.0.0.0/8", "::1/128"]
    )]
    pub trusted_networks: Vec<Network>,
    /// Number of releases of an app that stay stored, besides those that run: the last that had users, and as many
    /// rows, without files, of those that never had any.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(1..=1_000)
    )]
    pub keep_releases: u16,
    /// Another bound than the default, such as idle=2m; docs/limits.md has them all. May be given more
    /// than once.
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = Limit::of_server)]
    pub limits: Vec<Limit>,
    /// The door for members of the fleet.
    #[command(flatten)]
    pub door: DoorOptions,
}

/// `segue proxy`: alone in front of fixed upstreams, or as a member of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(group = ArgGroup::new("form").required(true).args(["upstreams", "data"]))]
pub struct ProxyOptions {
    /// Where to listen for HTTP.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Threads that serve traffic [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Where /metrics, /healthz and /readyz listen.
    #[arg(long, value_name = "ADDR:PORT")]
    pub admin: Option<SocketAddr>,
    /// Where requests are logged: a file, or `off`.
    #[arg(long, value_name = "off|FILE", default_value = "off")]
    pub access_log: AccessLogTarget,
    #[command(flatten)]
    pub alone: LoneProxyOptions,
    #[command(flatten)]
    pub member: ProxyMemberOptions,
    #[command(flatten)]
    pub floating: FloatingOptions,
}

/// The options of a proxy in front of fixed upstreams.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "In front of fixed upstreams")]
pub struct LoneProxyOptions {
    /// An upstream: 127.0.0.1:9000, [::1]:9000, unix:/path or app.internal:9000; more than one may be
    /// named. With ,weight=3 behind it, it gets three times as much as one without.
    #[arg(long = "upstream", value_name = "ADDR", num_args = 1..)]
    pub upstreams: Vec<Upstream>,
    /// How an upstream is picked.
    #[arg(
        long,
        value_enum,
        default_value_t = BalanceOption::TwoChoices,
        conflicts_with = "data"
    )]
    pub balance: BalanceOption,
    /// Probe upstreams at this path, and send nothing to those that do not answer with 2xx.
    #[arg(long, value_name = "PATH", conflicts_with = "data")]
    pub health_path: Option<String>,
    /// A proxy in front, as an address or a network: its X-Forwarded-For, -Proto and -Port are
    /// believed. May be given more than once.
    #[arg(long = "trusted-proxy", value_name = "NETWORK", conflicts_with = "data")]
    pub trusted_proxies: Vec<Network>,
    /// Another bound than the default, such as idle=2m; docs/limits.md has them all. May be given more
    /// than once.
    #[arg(
        long = "limit",
        value_name = "NAME=VALUE",
        value_parser = Limit::of_proxy,
        conflicts_with = "data"
    )]
    pub limits: Vec<Limit>,
}

/// Where requests are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Nowhere.
    Off,
    /// In this file.
    File(PathBuf),
}

impl AccessLogTarget {
    /// Returns the path of the file, if there is one.
    pub fn file(self) -> Option<PathBuf> {
        match self {
            Self::Off => None,
            Self::File(path) => Some(path),
        }
    }
}

impl From<OsString> for AccessLogTarget {
    fn from(text: OsString) -> Self {
        if text == "off" { Self::Off } else { Self::File(text.into()) }
    }
}

impl From<&str> for AccessLogTarget {
    fn from(text: &str) -> Self {
        OsString::from(text).into()
    }
}

/// How an upstream is picked among the healthy ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BalanceOption {
    /// Of two random upstreams, the one with fewer requests in flight.
    TwoChoices,
    /// The upstream with the fewest requests in flight.
    LeastConnections,
    /// Of two random upstreams, the one expected to answer sooner.
    PeakEwma,
    /// One upstream after the other.
    RoundRobin,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PlanOptions {
    #[command(flatten)]
    pub(crate) what: ReleaseOptions,
    /// Say what a deploy with `--replace` would do.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct StatusOptions {
    /// The app [default: all].
    pub(crate) app: Option<AppName>,
    /// Refresh every second.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ListOptions {
    /// The app.
    pub(crate) app: AppName,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AppOptions {
    /// The app.
    pub(crate) app: AppName,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ScaleOptions {
    /// The app.
    pub(crate) app: AppName,
    /// How many instances.
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) replicas: u16,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MaintenanceOptions {
    /// Close the app, or open it again.
    #[arg(value_enum, value_name = "on|off", hide_possible_values = true)]
    pub(crate) state: OnOff,
    /// The app.
    pub(crate) app: AppName,
    /// An HTML page for users, 64 KiB at most [default: a plain one].
    #[arg(long, value_name = "FILE")]
    pub(crate) page: Option<PathBuf>,
    /// One sentence for users.
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// When users should come back [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) retry_after: Option<String>,
    /// Hold requests for this long before they get the page [default: not at all].
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) hold: Option<String>,
    /// Let clients of this network through: 10.0.0.0/8, or one address.
    #[arg(long, value_name = "NET", value_parser = network)]
    pub(crate) allow: Vec<String>,
}

/// Whether an app is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    /// The app is closed.
    On,
    /// The app is open.
    Off,
}

/// Checks a length of time, which is sent as it is written.
fn time(text: &str) -> Result<String, Invalid> {
    wire::parse_duration(text).map(|_| text.to_owned())
}

/// Checks a network, which is sent as it is written.
fn network(text: &str) -> Result<String, Invalid> {
    text.parse::<Network>().map(|_| text.to_owned())
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LogsOptions {
    /// The app.
    pub(crate) app: AppName,
    /// Follow new output.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Number of lines to show from the end of the output.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub(crate) lines: u32,
    /// Show the output of this instance only.
    #[arg(long, value_name = "ID")]
    pub(crate) instance: Option<InstanceId>,
    /// Print the lines as they were written, byte by byte: without the instance's name, with control
    /// characters, and whether they are UTF-8 or not.
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Print JSON, one object per line of output. A line that is no UTF-8 has its bytes in `base64`.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ReceiptOptions {
    /// The app.
    pub(crate) app: AppName,
    /// The rollout's number [default: the last that ended].
    pub(crate) rollout: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RemoveOptions {
    /// The app.
    pub(crate) app: AppName,
    /// Delete its state folder as well, which holds its users' data.
    #[arg(long)]
    pub(crate) with_state: bool,
    /// Do not ask; needed off a terminal.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CheckOptions {
    /// The app file.
    #[arg(default_value = "segue.toml")]
    pub(crate) file: PathBuf,
    /// Allow it to name files outside its folder and outside the git work tree around it.
    #[arg(long)]
    pub(crate) outside: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DemoOptions {
    /// Leave everything running at the end.
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionsOptions {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SampleOptions {
    /// The label that it answers with.
    #[arg(long, value_name = "LABEL")]
    pub(crate) version: String,
    /// How it is broken, if it is.
    #[arg(long, value_enum)]
    pub(crate) broken: Option<SampleFault>,
}

/// How a sample app can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SampleFault {
    /// The app exits as soon as it starts.
    Exit,
    /// The app never answers its health check well.
    Unhealthy,
}
