//! Data folders that somebody else made, as they come with a cloned repository: the server says what
//! it does not trust and touches nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What a server on this folder says before it ends.
fn refusal(data: &Path) -> String {
    let mut server = Command::new(env!("CARGO_BIN_EXE_segue"));
    server.args(["server", "--http", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data"]).arg(data);
    let said = server.output().unwrap();
    let text = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot be trusted"), "{text}");
    text
}

#[test]
fn what_somebody_else_has_put_into_a_data_folder_is_neither_read_nor_followed() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    write(&victim, "precious", 0o644);
    // As git leaves them: a token that is known, and one that is a link.
    let known = dir.path().join("known");
    write(&known.join("token"), &"0".repeat(64), 0o644);
    assert!(
        refusal(&known).contains("known/token cannot be trusted: segue makes it for its owner")
    );
    for link in ["token", "server.pid", "snapshot", "lock", "journal.db"] {
        let data = dir.path().join(link);
        fs::create_dir(&data).unwrap();
        symlink(&victim, data.join(link)).unwrap();
        let text = refusal(&data);
        assert!(text.contains(&format!("{link}/{link} cannot be trusted: it is a symbolic link")));
    }
    // Deeper inside, behind files that look right.
    for link in
        ["run/web-1/output.log", "apps/web/manifests", "apps/web/state", "blobs/ab", "env/web"]
    {
        let data = dir.path().join("deep").join(link.replace('/', "-"));
        write(&data.join("lock"), "", 0o600);
        let link = data.join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&victim, &link).unwrap();
        assert!(refusal(&data).contains(&format!("{} cannot be trusted", link.display())));
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o644);
}
