//! The floating address of several proxies: which of them has it is decided by keepalived, from the priority that
//! each writes into a file. This end says what the priority is; [`watcher`] is the process that writes it.

mod priority;
mod track_file;
pub mod watcher;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use proxy::Proxy;

use crate::usable_table::UsableTable;
use priority::{ControlWord, ProxyStanding};
use track_file::TrackFile;

pub use priority::Leaving;

/// The time between two looks at the proxy, each of which is told to the process that writes the file.
const LOOK: Duration = Duration::from_millis(100);
/// Time after which a worker that does nothing hangs. It looks at its deadlines twenty times a second.
const HANGS: Duration = Duration::from_secs(3);

/// The floating address, as one of the proxies sees it.
#[derive(Debug)]
pub struct FloatingAddress {
    address: IpAddr,
    /// Whether the proxy has a table with which it can serve users.
    table: UsableTable,
    known: Mutex<Known>,
}

/// What is known of the proxy besides what one sees at it.
#[derive(Debug)]
struct Known {
    leaving: Leaving,
    is_of_before_boot: bool,
    control: ControlWord,
}

impl FloatingAddress {
    /// Starts to write the priority of a proxy into a file.
    ///
    /// # Errors
    /// If the folder of the file cannot be made, or the process that writes it cannot be started.
    pub fn start(
        address: IpAddr,
        file: PathBuf,
        proxy: Proxy,
        table: UsableTable,
    ) -> std::io::Result<Arc<Self>> {
        let mut file = TrackFile::open(file)?;
        let control = ControlWord::none_since(Instant::now());
        let known = Known { leaving: Leaving::Stays, is_of_before_boot: false, control };
        let floating =
            Arc::new(Self { address: address.to_canonical(), table, known: Mutex::new(known) });
        let told = Arc::clone(&floating);
        let tell = move || {
            loop {
                file.say(told.standing(&proxy).value());
                thread::sleep(LOOK);
            }
        };
        thread::Builder::new().name("floating".to_owned()).spawn(tell)?;
        Ok(floating)
    }

    /// Returns whether this machine has the address now.
    pub fn is_here(&self) -> bool {
        let addresses = getifaddrs().into_iter().flatten().filter_map(|it| it.address);
        let ips = addresses.filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
        });
        ips.into_iter().any(|ip| ip == self.address)
    }

    /// Notes whether the proxy leaves service.
    pub fn leaves(&self, leaving: Leaving) {
        self.known().leaving = leaving;
    }

    /// Notes whether the table in use was saved before the machine was booted, and control has given no other.
    pub fn uses_table_of_before_boot(&self, so: bool) {
        self.known().is_of_before_boot = so;
    }

    /// Notes whether control is heard.
    pub fn control_is_heard(&self, heard: bool) {
        self.known().control.is_heard(heard, Instant::now());
    }

    fn standing(&self, proxy: &Proxy) -> ProxyStanding {
        let holds = self.is_here();
        let mut known = self.known();
        ProxyStanding {
            serves: self.table.is_there() && proxy.silent_for() < HANGS,
            holds,
            leaving: known.leaving,
            is_of_before_boot: known.is_of_before_boot,
            is_without_control: known.control.is_away(holds, Instant::now()),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
