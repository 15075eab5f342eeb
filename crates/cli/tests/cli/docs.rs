//! docs/cli.md is what the help says. `UPDATE_DOCS=1 cargo test -p cli` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use clap::CommandFactory as _;

#[test]
fn the_reference_is_what_the_help_says() {
    let mut text = String::from("# The command line\n\nMade from the program's own help.\n");
    let mut segue = cli::Cli::command().term_width(100);
    segue.build();
    write!(text, "\n## segue\n\n```text\n{}```\n", segue.render_help()).unwrap();
    for verb in segue.get_subcommands_mut().filter(|verb| !verb.is_hide_set()) {
        if verb.get_name() == "help" {
            continue;
        }
        let name = verb.get_name().to_owned();
        write!(text, "\n## segue {name}\n\n```text\n{}```\n", verb.render_help()).unwrap();
        for part in verb.get_subcommands_mut().filter(|part| part.get_name() != "help") {
            let name = format!("{name} {}", part.get_name());
            write!(text, "\n## segue {name}\n\n```text\n{}```\n", part.render_help()).unwrap();
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "docs/cli.md has drifted; run UPDATE_DOCS=1 cargo test -p cli");
}
