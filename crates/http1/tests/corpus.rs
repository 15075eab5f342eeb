//! Runs what the fuzz targets check over the committed corpus, with the same code.

#[path = "../../../fuzz/fuzz_targets/checks.rs"]
mod checks;

fn run(folder: &str, check: fn(&[u8])) {
    let folder = format!("{}/corpus/{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect(&folder) {
        check(&std::fs::read(entry.expect("entry").path()).expect("a readable file"));
        seen += 1;
    }
    assert!(seen > 0, "{folder} is empty");
}

#[test]
fn the_corpus_of_request_heads() {
    run("request", checks::request);
}

#[test]
fn the_corpus_of_chunked_bodies() {
    run("chunked", checks::chunked);
}

#[test]
fn the_corpus_of_answers() {
    run("response", checks::response);
}
