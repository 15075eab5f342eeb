//! The program: connects the parts and contains no logic of its own.

mod adapters;
mod api;
mod brain;
mod clock;
mod cookie_keys;
mod data_folder;
mod failure;
mod fleet;
mod floating;
mod foreign_listeners;
mod front;
mod host_member;
mod key_renewal;
mod link_record;
mod local_host;
mod membership;
mod proxy_files;
mod proxy_member;
mod reach_news;
mod saving_proxy;
mod serve;
mod service_duty;
mod signals;
mod sys;
mod table_of_before_boot;
mod test_hooks;
mod usable_table;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cli::{AgentOptions, CommandError, Limit, Local, ProxyOptions, ServerOptions};
use model::Balance;
use proxy::standalone::Options;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The time within which a server that has closed its API has ended.
const ENDING: Duration = Duration::from_secs(2);

/// The commands that run in this process and do not use the API.
struct Program;

impl Local for Program {
    fn server(&self, options: ServerOptions) -> Result<(), CommandError> {
        log_to_stderr();
        serve::run(&options)
    }

    fn proxy(&self, options: ProxyOptions) -> Result<(), CommandError> {
        log_to_stderr();
        if let Some(data) = &options.member.data {
            return proxy_member::run(&options, data);
        }
        let act = "run the proxy";
        let ProxyOptions { listen, workers, admin, access_log, alone: options, .. } = options;
        let mut alone = Options::new(vec![listen], options.upstreams);
        let limits = Limit::all(&options.limits);
        alone.limits = limits.proxy.into();
        (alone.request, alone.hold, alone.drain) = (limits.request, limits.hold, limits.drain);
        alone.balance = match options.balance {
            cli::BalanceOption::TwoChoices => Balance::TwoChoices,
            cli::BalanceOption::LeastConnections => Balance::LeastConnections,
            cli::BalanceOption::PeakEwma => Balance::PeakEwma,
            cli::BalanceOption::RoundRobin => Balance::RoundRobin,
        };
        alone.workers = workers.map(usize::from);
        alone.admin = admin;
        alone.health_path = options.health_path;
        alone.trusted_proxies = options.trusted_proxies;
        alone.access_log = access_log.file();
        alone.release_memory = sys::release_memory;
        proxy::standalone::run(alone).map_err(|error| {
            let failure = CommandError::new(act, &error);
            match matches!(error, proxy::Error::Circle { .. }) {
                true => failure.hint("--upstream names where the app listens"),
                false => failure,
            }
        })
    }

    fn agent(&self, options: AgentOptions) -> Result<(), CommandError> {
        log_to_stderr();
        host_member::run(&options)
    }

    fn down(&self, data: &Path) -> Result<u32, CommandError> {
        let act = format!("stop the instances of {}", data.display());
        let folder = data_folder::DataFolder::open(data)?;
        let started = Instant::now();
        let _lock = loop {
            if let Some(lock) = folder.try_lock()? {
                break lock;
            }
            // A server that stops closes its API before it releases the folder's lock.
            if started.elapsed() > ENDING {
                let failure =
                    CommandError::because(act, "its server is running, with its API elsewhere");
                return Err(failure.hint("leave out --server: it is asked through the folder"));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let ended =
            agent::stop_all(folder.path(), serve::GRACE).map_err(|e| CommandError::new(act, &e))?;
        Ok(u32::try_from(ended.len()).unwrap_or(u32::MAX))
    }

    fn shim(&self, args: Vec<OsString>) -> ExitCode {
        run_folder(&args).map_or(ExitCode::from(2), agent::shim::main)
    }

    fn watch(&self, args: Vec<OsString>) -> ExitCode {
        log_to_stderr();
        floating::watcher::main(&args)
    }

    fn exec(&self, args: Vec<OsString>) -> ExitCode {
        run_folder(&args).map_or(ExitCode::from(2), agent::shim::exec)
    }
}

fn main() -> ExitCode {
    cli::main(&Program)
}

/// Returns the only argument of the hidden verbs.
fn run_folder(args: &[OsString]) -> Option<&Path> {
    args.first().map(Path::new)
}

/// Starts logging to standard error. `SEGUE_LOG` chooses what is logged, in the syntax of `tracing`'s
/// filters.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SEGUE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi);
    log.with_writer(std::io::stderr).init();
}
