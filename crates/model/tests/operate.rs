//! Every reason people can be shown has its page in `docs/operate`, with the sentence as the program
//! writes it, and the index names them all. `UPDATE_DOCS=1 cargo test -p model` writes the index anew.

use std::fs;
use std::path::PathBuf;

use model::{Exit, Generation, HostAside, HostFault, NotReady, ReleaseNo, Share, Waiting};

/// One of each. A new one does not compile until it is named in [`page_of_waiting`]; its page is not
/// allowed until it is named here.
fn waitings() -> Vec<Waiting> {
    let label = || "v2".parse().expect("it is valid");
    vec![
        Waiting::Instances {
            release: label(),
            ready: 1,
            wanted: 2,
            note: Some("GET /up answered 503".into()),
        },
        Waiting::Files { release: label(), note: None },
        Waiting::Ports,
        Waiting::Promote,
        Waiting::Acknowledgement { generation: Generation { term: 7, counter: 12 } },
        Waiting::Step { share: Share::from_ten_thousandths(500).expect("it is a share") },
        Waiting::Resume { because: None },
        Waiting::Watch,
        Waiting::Drain { instances: 2, in_flight: 3 },
        Waiting::Stop { instances: 2 },
        Waiting::BackOff { release: label(), crashes: 4 },
        Waiting::Recovery {
            instance: "web-3".parse().expect("it is valid"),
            note: Some("GET /up got no answer within 2s".into()),
        },
        Waiting::Host { host: "h7".parse().expect("it is valid"), instances: 2 },
        Waiting::HostAside(HostAside {
            host: "h7".parse().expect("it is valid"),
            why: HostFault::Lost,
        }),
        Waiting::LostProxy { proxy: "lb-2".parse().expect("it is valid"), instances: 2 },
        Waiting::NoProxy,
        Waiting::SuspectsItself { silent: 4, of: 5 },
        Waiting::Busy {
            instance: "web-3".parse().expect("it is valid"),
            in_flight: 5,
            note: Some("GET /up got no answer within 2s".into()),
        },
    ]
}

fn page_of_waiting(waiting: &Waiting) -> &'static str {
    match waiting {
        Waiting::Instances { .. } => "waiting-instances",
        Waiting::Files { .. } => "waiting-files",
        Waiting::Ports => "waiting-ports",
        Waiting::Promote => "waiting-promote",
        Waiting::Acknowledgement { .. } => "waiting-acknowledgement",
        Waiting::Step { .. } => "waiting-step",
        Waiting::Resume { .. } => "waiting-resume",
        Waiting::Watch => "waiting-watch",
        Waiting::Drain { .. } => "waiting-drain",
        Waiting::Stop { .. } => "waiting-stop",
        Waiting::BackOff { .. } => "waiting-back-off",
        Waiting::Recovery { .. } => "waiting-recovery",
        Waiting::Host { .. } => "waiting-host",
        Waiting::HostAside(_) => "waiting-host-aside",
        Waiting::LostProxy { .. } => "waiting-lost-proxy",
        Waiting::NoProxy => "waiting-no-proxy",
        Waiting::SuspectsItself { .. } => "waiting-suspects-itself",
        Waiting::Busy { .. } => "waiting-busy",
    }
}

fn not_readies() -> Vec<NotReady> {
    vec![
        NotReady::NoPrevious,
        NotReady::NotKept { release: Some(ReleaseNo(1)) },
        NotReady::MarkedBad { release: ReleaseNo(2), why: "it was rolled back from".into() },
        NotReady::NotWhole {
            release: ReleaseNo(1),
            ready: 1,
            wanted: 2,
            died: Some(Exit::Code(1)),
        },
        NotReady::NothingServed,
    ]
}

fn page_of_not_ready(why: &NotReady) -> &'static str {
    match why {
        NotReady::NoPrevious => "not-ready-no-previous",
        NotReady::NotKept { .. } => "not-ready-not-kept",
        NotReady::MarkedBad { .. } => "not-ready-marked-bad",
        NotReady::NotWhole { .. } => "not-ready-not-whole",
        NotReady::NothingServed => "not-ready-nothing-served",
    }
}

/// The names of the pages, and the sentence on each.
fn pages() -> Vec<(&'static str, String)> {
    let waiting = waitings().into_iter().map(|w| (page_of_waiting(&w), format!("waiting for {w}")));
    let not_ready = not_readies().into_iter().map(|w| (page_of_not_ready(&w), w.to_string()));
    waiting.chain(not_ready).collect()
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../docs/operate"].iter().collect()
}

fn read(name: &str) -> String {
    let path = folder().join(name).with_extension("md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_reason_has_a_page_that_says_what_to_do() {
    for (name, sentence) in pages() {
        let page = read(name);
        assert!(page.contains(&format!("> {sentence}\n")), "{name} does not quote: {sentence}");
        for part in ["What it means", "How long", "What happens then", "What to do"] {
            assert!(page.contains(&format!("**{part}.**")), "{name} does not say: {part}");
        }
    }
}

#[test]
fn no_page_is_about_a_reason_that_there_is_not() {
    let known: Vec<_> = pages().into_iter().map(|(name, _)| name.to_owned()).collect();
    for entry in fs::read_dir(folder()).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let of_reason = name.starts_with("waiting-") || name.starts_with("not-ready-");
        assert!(!of_reason || known.contains(&name), "{name}.md is about no reason");
    }
}

#[test]
fn the_index_names_every_page() {
    let mut text = String::from(
        "# For whoever is on call\n\nMade from the pages. [How to install it](install.md), what \
         survives what, and how to get back\nwhat was lost.\n\nWhat `segue status`, `segue deploy` \
         and the API say when something has not happened yet:\n\n| it says | page |\n|---|---|\n",
    );
    for (name, sentence) in pages() {
        if name == "not-ready-no-previous" {
            text += "\nWhy there is no way back in one switch:\n\n| it says | page |\n|---|---|\n";
        }
        let page = read(name);
        let title = page.lines().next().unwrap_or_default().trim_start_matches("# ");
        text += &format!("| {sentence} | [{title}]({name}.md) |\n");
    }
    let path = folder().join("README.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).expect("the index can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "the index has drifted; run UPDATE_DOCS=1 cargo test -p model");
}
