//! The machines that chaos begins with, and when a proxy on a machine of its own joins them.

use crate::host::Pace;
use crate::hosts::Hosts;
use crate::rng::Rng;

/// When a proxy on a machine of its own joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joins {
    /// Before anything is deployed.
    First,
    /// Before anything is deployed, and the server has no proxy of its own.
    Instead,
    /// When apps run at loopback addresses already.
    Later,
    /// When the first scenario needs it.
    ForAmbush,
    /// Never.
    Never,
}

impl Joins {
    /// Draws when a proxy joins a world that begins with this fault or command.
    pub fn draw(rng: &mut Rng, what: &str) -> Self {
        match (rng.once_in(3), matches!(what, "dead-proxy" | "cut-proxy")) {
            (true, false) if rng.once_in(3) => Self::Later,
            (true, false) if rng.once_in(5) => Self::Instead,
            (true, _) => Self::First,
            (false, true) => Self::ForAmbush,
            (false, false) => Self::Never,
        }
    }
}

/// Returns the machines of a world that begins with this fault or command: mostly one without delays, otherwise
/// three with different paces. Control sees those as one host, or each as a host of its own.
pub fn hosts(seed: u64, what: &str, joins: Joins) -> Hosts {
    let hosts = machines(seed, matches!(what, "cut-link" | "cut-all"));
    match joins {
        Joins::First | Joins::Instead | Joins::ForAmbush => hosts.addressed(),
        Joins::Later | Joins::Never => hosts,
    }
}

/// Returns the machines. Each is a host of its own if `has_links` is set, and in some other worlds.
fn machines(seed: u64, has_links: bool) -> Hosts {
    let mut rng = Rng::new(!seed);
    if !rng.once_in(3) && !has_links {
        return Hosts::new(&[Pace::default()]);
    }
    let mut pace = || Pace {
        work: rng.between(0, 200),
        start: rng.between(0, 2_000),
        probe: rng.between(0, 100),
    };
    let paces = [pace(), pace(), pace()];
    if has_links || rng.once_in(2) {
        return Hosts::apart(&paces);
    }
    Hosts::new(&paces)
}
