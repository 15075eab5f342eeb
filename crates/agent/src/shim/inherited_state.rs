//! Resets the state that a process inherits to the defaults of a freshly booted machine, so that an app runs
//! in the same way whether segue was started by systemd, `nohup`, `nice` or a shell with limits. Never
//! touches what surrounds the server on purpose: namespaces, control groups, CPU affinity, capability
//! bounding sets.

use rustix::process::{Resource, Rlimit};

use crate::protocol::OpenFiles;
use crate::sys;

/// The kernel's default timer slack, in nanoseconds.
const TIMER_SLACK_NS: u64 = 50_000;
/// The kernel's default stack limit, in bytes. Many programs use this limit as the stack size of their
/// threads.
const STACK_BYTES: u64 = 8 << 20;

/// The limits that a shell or a unit may have lowered, with the default soft limits of a machine.
const LIMITS: [(Resource, Option<u64>); 9] = [
    (Resource::Cpu, None),
    (Resource::Fsize, None),
    (Resource::Data, None),
    (Resource::Stack, Some(STACK_BYTES)),
    (Resource::Core, Some(0)),
    (Resource::Rss, None),
    (Resource::As, None),
    (Resource::Nproc, None),
    (Resource::Locks, None),
];

/// Resets everything except the user. Settings that the system does not allow to change stay as they are: an
/// app that runs with a wrong `nice` value is better than no app. Call this while the process still is root,
/// if it ever was.
pub(super) fn reset(open_files: Option<OpenFiles>) -> Result<(), String> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    sys::default_signals();
    sys::default_scheduling();
    let _ = rustix::process::setpriority_process(None, 0);
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    let slack = std::num::NonZeroU64::new(TIMER_SLACK_NS);
    let _ = rustix::thread::set_current_timer_slack(slack);
    // A server that may bind port 80 without being root would pass that capability on.
    let _ = rustix::thread::clear_ambient_capability_set();
    for (resource, soft) in LIMITS {
        let _ = set(resource, Rlimit { current: soft, maximum: None });
    }
    open_files.map_or(Ok(()), |OpenFiles { soft, hard }| {
        set(Resource::Nofile, Rlimit { current: soft, maximum: hard })
            .map_err(|e| format!("cannot set the limit of open files: {e}"))
    })
}

/// Sets a limit. If the hard limit cannot be raised, sets the nearest value that is allowed.
fn set(resource: Resource, wanted: Rlimit) -> rustix::io::Result<()> {
    let hard = rustix::process::getrlimit(resource).maximum;
    let lowered = Rlimit { current: at_most(wanted.current, hard), maximum: hard };
    rustix::process::setrlimit(resource, wanted)
        .or_else(|_| rustix::process::setrlimit(resource, lowered))
}

/// Returns the lower of two limits; `None` is no limit.
fn at_most(wanted: Option<u64>, limit: Option<u64>) -> Option<u64> {
    match (wanted, limit) {
        (Some(wanted), Some(limit)) => Some(wanted.min(limit)),
        (one, other) => one.or(other),
    }
}
