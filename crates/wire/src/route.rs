//! The table `[route]` of an app file: the requests that belong to the app, and the users who are redirected.

use model::{Affinity, Balance, KeepAlive, Millis, Prefix, Redirect, Route};

use crate::limits;
use crate::settings_table::{AppFileError, Section};
use crate::settings_tree::{Node, TreeValue};
use crate::value_checks::{check_host, check_path};

/// The keys of the table; docs/segue.schema.json lists them, too.
pub(crate) const KEYS: &[&str] = &[
    "hosts",
    "path",
    "strip_prefix",
    "canonical",
    "redirects",
    "affinity",
    "hold",
    "balance",
    "slow_start",
    "keep_alive",
];
const BALANCE: &[(&str, Balance)] = &[
    ("two-choices", Balance::TwoChoices),
    ("least-connections", Balance::LeastConnections),
    ("peak-ewma", Balance::PeakEwma),
    ("round-robin", Balance::RoundRobin),
    ("hash", Balance::Hash),
];
const REDIRECT: &[&str] = &["from", "to", "status"];
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

type Result<T> = std::result::Result<T, AppFileError>;

/// Reads the table and the table of the limits, which belong to the route.
pub(crate) fn read(top: &Section<'_>) -> Result<Route> {
    let route = Section::open("route", top.get("route"), KEYS)?;
    let hosts = hosts(&route)?;
    let path = route.text("path")?.unwrap_or("/");
    check_path(path).map_err(|why| route.wrong("path", why))?;
    if path.contains('?') {
        return Err(route.wrong("path", "a route goes by the path alone, without `?`"));
    }
    let prefix = match route.flag("strip_prefix", false)? {
        false => Prefix::Kept,
        true if path.trim_end_matches('/').is_empty() => {
            let error = route.wrong("strip_prefix", "there is nothing to strip from \"/\"");
            return Err(error.hint("set path = \"/PREFIX\", or leave strip_prefix out"));
        }
        true => Prefix::Stripped,
    };
    let affinity = affinity(&route)?;
    let balance = route.word("balance", Balance::TwoChoices, BALANCE)?;
    if balance == Balance::Hash && matches!(affinity, Affinity::Cookie | Affinity::None) {
        let error = route.wrong("balance", "\"hash\" needs something to know a user by");
        return Err(error.hint("set affinity = \"client-ip\" or affinity = \"header:NAME\""));
    }
    let minutes = Millis(0)..=Millis::from_secs(300);
    Ok(Route {
        canonical: canonical(&route, &hosts)?,
        hosts,
        path: path.to_owned(),
        prefix,
        redirects: redirects(&route, path)?,
        affinity,
        balance,
        hold: route.duration("hold", Millis::from_secs(5), minutes.clone())?,
        slow_start: route.duration("slow_start", Millis(0), minutes)?,
        keep_alive: keep_alive(&route)?,
        limits: limits::read(top)?,
    })
}

fn keep_alive(route: &Section<'_>) -> Result<KeepAlive> {
    match route.get("keep_alive").map(|node| &node.value) {
        None | Some(TreeValue::Flag(true)) => Ok(KeepAlive::Careful),
        Some(TreeValue::Flag(false)) => Ok(KeepAlive::Off),
        Some(TreeValue::Text(text)) if text == "trusting" => Ok(KeepAlive::Trusting),
        Some(TreeValue::Text(text)) => {
            Err(route
                .wrong("keep_alive", format!("{text:?} is not one of true, false, \"trusting\"")))
        }
        Some(
            TreeValue::Number(_)
            | TreeValue::Fraction(_)
            | TreeValue::List(_)
            | TreeValue::Table(_)
            | TreeValue::Other(_),
        ) => Err(route.wrong("keep_alive", "true, false or \"trusting\" is needed")),
    }
}

fn hosts(route: &Section<'_>) -> Result<Vec<String>> {
    let mut hosts = Vec::new();
    for host in route.texts("hosts")? {
        let host = host.to_ascii_lowercase();
        check_host(&host).map_err(|why| route.wrong("hosts", format!("{host:?}: {why}")))?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    if hosts.len() > Route::HOSTS {
        let why = format!("{} hosts at most, not {}", Route::HOSTS, hosts.len());
        return Err(route.wrong("hosts", why).hint("a pattern like *.example.com stands for many"));
    }
    Ok(hosts)
}

/// Returns the host name that users should see.
fn canonical(route: &Section<'_>, hosts: &[String]) -> Result<Option<String>> {
    let Some(text) = route.text("canonical")? else { return Ok(None) };
    let host = text.to_ascii_lowercase();
    check_host(&host).map_err(|why| route.wrong("canonical", format!("{host:?}: {why}")))?;
    if host.starts_with("*.") {
        let why = format!("{host:?} is a pattern; one name is needed");
        return Err(route.wrong("canonical", why).hint("write canonical = \"example.com\""));
    }
    if !hosts.is_empty() && !hosts.contains(&host) {
        // Users would be redirected to a host that the app does not serve.
        let error = route.wrong("canonical", format!("{host:?} is not among `hosts`"));
        return Err(error.hint(format!("add {host:?} to `hosts`")));
    }
    Ok(Some(host))
}

fn redirects(route: &Section<'_>, path: &str) -> Result<Vec<Redirect>> {
    let items = match route.get("redirects") {
        None => return Ok(Vec::new()),
        Some(Node { value: TreeValue::List(items), .. }) => items,
        Some(node) => {
            let why = format!("expected a list of tables, found {}", node.kind());
            let error = route.wrong("redirects", why);
            return Err(error.hint("write redirects = [{ from = \"/old\", to = \"/new\" }]"));
        }
    };
    if items.len() > Route::REDIRECTS {
        let why = format!("{} at most, not {}", Route::REDIRECTS, items.len());
        return Err(route.wrong("redirects", why).hint("let the app redirect the rest"));
    }
    let mut redirects: Vec<Redirect> = Vec::new();
    for item in items {
        let one = Section::open("route.redirects", Some(item), REDIRECT)?;
        let redirect = redirect(&one, path)?;
        if redirects.iter().any(|other| other.from == redirect.from) {
            return Err(one.wrong("from", format!("{:?} is redirected twice", redirect.from)));
        }
        redirects.push(redirect);
    }
    Ok(redirects)
}

fn redirect(one: &Section<'_>, path: &str) -> Result<Redirect> {
    let needed = |key: &str, like: &str| {
        let error = one.wrong(key, "it is missing");
        error.hint(format!("write {key} = {like:?}"))
    };
    let from = one.text("from")?.ok_or_else(|| needed("from", "/old"))?;
    check_path(from).map_err(|why| one.wrong("from", why))?;
    if from.contains('?') {
        return Err(one.wrong("from", "a redirect goes by the path alone, without `?`"));
    }
    let prefix = path.trim_end_matches('/');
    if !from.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        let error = one.wrong("from", format!("{from:?} is not below the route's path {path:?}"));
        return Err(error.hint("the app never gets such a request; name the whole path"));
    }
    let to = one.text("to")?.ok_or_else(|| needed("to", "/new"))?;
    let address = ["http://", "https://"].iter().find_map(|scheme| to.strip_prefix(scheme));
    let whole = address.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    let plain = to.len() <= 1_024 && to.bytes().all(|b| b.is_ascii_graphic());
    if !plain || !(whole || to.starts_with('/')) {
        let error = one.wrong("to", format!("{to:?} is neither a path nor an address"));
        return Err(error.hint("write to = \"/new\" or to = \"https://example.com/new\""));
    }
    if to == from {
        return Err(one.wrong("to", format!("{to:?} would lead to itself")));
    }
    let status = one.count("status", 308, 300..=399)?;
    if !STATUSES.contains(&status) {
        let error = one.wrong("status", format!("{status} is not one of {STATUSES:?}"));
        return Err(error.hint(
            "use 308 for a permanent redirect and 307 for a temporary one; both keep the method",
        ));
    }
    Ok(Redirect { from: from.to_owned(), to: to.to_owned(), status })
}

fn affinity(route: &Section<'_>) -> Result<Affinity> {
    match route.text("affinity")? {
        None | Some("cookie") => Ok(Affinity::Cookie),
        Some("client-ip") => Ok(Affinity::ClientIp),
        Some("none") => Ok(Affinity::None),
        Some(text) => {
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            match text.strip_prefix("header:") {
                Some(name) if !name.is_empty() && name.chars().all(token) => {
                    Ok(Affinity::Header(name.to_owned()))
                }
                Some(_) | None => Err(route.wrong(
                    "affinity",
                    format!("{text:?} is not one of \"cookie\", \"client-ip\", \"header:NAME\", \"none\""),
                )),
            }
        }
    }
}
