//! The allowed dependencies between crates. A crate exists to forbid something, and this check enforces it.

use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::run::Done;

/// All allowed edges between our own crates. Any other edge fails.
const ALLOWED: [(&str, &[&str]); 19] = [
    ("datadir", &[]),
    ("identity", &["model", "datadir"]),
    ("link", &["model", "identity", "wire"]),
    ("model", &[]),
    ("rollout", &["model"]),
    ("balance", &["model"]),
    ("http1", &[]),
    ("journal", &["model", "datadir"]),
    ("wire", &["model"]),
    ("proxy", &["model", "balance", "http1", "datadir"]),
    ("store", &["model", "wire", "datadir"]),
    ("agent", &["model", "wire", "datadir", "store"]),
    ("control", &["model", "rollout", "journal"]),
    ("server", &["model", "wire", "control", "datadir", "store"]),
    ("cli", &["wire", "model"]),
    ("testkit", ANY),
    ("testport", &[]),
    ("segue", ANY),
    ("xtask", &["testport"]),
];

/// Crates that any other crate may use in its tests.
const FOR_TESTS: [&str; 2] = ["testkit", "testport"];

const ANY: &[&str] = &[
    "model", "rollout", "balance", "http1", "journal", "wire", "proxy", "agent", "control",
    "server", "cli", "datadir", "store", "identity", "link",
];

/// Libraries that would violate the purpose of a crate's border.
const FORBIDDEN: [(&str, &[&str]); 8] = [
    ("identity", &["axum", "hyper", "rusqlite", "socket2", "tokio", "ureq"]),
    ("link", &["axum", "rusqlite", "ureq"]),
    ("journal", &["axum", "hyper", "reqwest", "socket2", "tokio", "ureq"]),
    ("control", &["axum", "hyper", "reqwest", "rusqlite", "rustix", "socket2", "ureq"]),
    ("wire", &["axum", "hyper", "rusqlite", "tokio"]),
    ("cli", &["axum", "hyper", "rusqlite", "tokio"]),
    ("server", &["rusqlite"]),
    ("proxy", &["axum", "rusqlite"]),
];

/// Fails on every edge that is not allowed.
pub(crate) fn check(root: &Path) -> Done {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec();
    let metadata = metadata.map_err(|error| format!("cannot read the workspace: {error}"))?;
    let packages = metadata.workspace_packages();
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in &packages {
        for dependency in &package.dependencies {
            let (from, to) = (package.name.as_str(), dependency.name.as_str());
            let use_ = match dependency.kind {
                DependencyKind::Development => Use::Tests,
                DependencyKind::Normal | DependencyKind::Build | DependencyKind::Unknown => {
                    Use::Product
                }
            };
            let why = if ours.contains(&to) { edge(from, to, use_) } else { library(from, to) };
            wrong.extend(why);
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// The purpose of a dependency.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Product,
    Tests,
}

/// Returns why one of our crates may not use another.
fn edge(from: &str, to: &str, use_: Use) -> Option<String> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == from) else {
        return Some(format!("crate `{from}` is not in the table of allowed edges"));
    };
    let fine = allowed.contains(&to) || (FOR_TESTS.contains(&to) && use_ == Use::Tests);
    (!fine).then(|| format!("`{from}` may not depend on `{to}`"))
}

/// Returns why one of our crates may not use a library.
fn library(from: &str, to: &str) -> Option<String> {
    let (_, forbidden) = FORBIDDEN.iter().find(|(name, _)| *name == from)?;
    forbidden.contains(&to).then(|| format!("`{from}` may not use the library `{to}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_crate_uses_what_it_may_not() {
        if let Err(why) = check(&crate::run::root()) {
            panic!("{why}");
        }
    }

    #[test]
    fn a_wrong_edge_is_seen() {
        assert!(edge("cli", "server", Use::Product).is_some());
        assert!(edge("model", "wire", Use::Tests).is_some());
        // Where the server has no agent beside it, it still has its store.
        assert!(edge("server", "agent", Use::Tests).is_some());
        assert!(edge("store", "agent", Use::Product).is_some());
        assert!(edge("rollout", "testkit", Use::Product).is_some());
        assert!(edge("rollout", "testkit", Use::Tests).is_none());
        assert!(edge("proxy", "testport", Use::Product).is_some());
        assert!(edge("new", "model", Use::Product).is_some());
        assert!(library("journal", "axum").is_some());
    }
}
