//! Checks that an app file ships only files in its own folder, or in the git work tree that contains the
//! folder. An app file may come from somebody else, and must not ship other files of the user who deploys it.
//! Resolves paths and reads no files.

use std::path::{Path, PathBuf};

use crate::CommandError;

/// The permission of an app file to name paths outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    /// The file may name them: the user has checked it.
    Allowed,
    /// The file may not name them.
    Refused,
}

impl Outside {
    /// Returns the permission for the flag `--outside`.
    pub(crate) fn flag(given: bool) -> Self {
        if given { Self::Allowed } else { Self::Refused }
    }
}

/// Returns the path that `key` of the app file names, with all links resolved.
pub(super) fn resolve(
    app_file: &Path,
    key: &str,
    named: &str,
    outside: Outside,
) -> Result<PathBuf, CommandError> {
    let folder = app_file.parent().unwrap_or(Path::new(""));
    let path = folder.join(named);
    let real = |path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let failed = |error| {
            let hint = format!("`{key}` in {} names it", app_file.display());
            CommandError::new(format!("read {}", path.display()), &error).hint(hint)
        };
        path.canonicalize().map_err(failed)
    };
    let (found, folder) = (real(&path)?, real(folder)?);
    if outside == Outside::Allowed || is_inside(&found, &folder) {
        return Ok(found);
    }
    let cause = format!(
        "`{key}` names {named:?}, which is {}, outside the app file's folder and its git work tree",
        found.display()
    );
    let failure = CommandError::because(format!("read {}", app_file.display()), cause);
    Err(failure.hint("if you trust this app file, pass --outside"))
}

fn is_inside(path: &Path, folder: &Path) -> bool {
    let tree = folder.ancestors().find(|above| above.join(".git").symlink_metadata().is_ok());
    path.starts_with(folder) || tree.is_some_and(|tree| path.starts_with(tree))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_reached_by_dots_by_name_or_by_links() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let app = root.join("clone/apps/web");
        fs::create_dir_all(app.join("dist")).unwrap();
        fs::create_dir_all(root.join("secret")).unwrap();
        fs::write(root.join("clone/page.html"), "").unwrap();
        symlink(root.join("secret"), app.join("link")).unwrap();
        symlink("../../page.html", app.join("page.html")).unwrap();
        let file = app.join("segue.toml");
        let ask = |named: &str, outside| resolve(&file, "dir", named, outside);
        let secret = root.join("secret");
        for named in [".", "dist", "./dist/.."] {
            assert!(ask(named, Outside::Refused).is_ok(), "{named}");
        }
        for named in ["../../../secret", "link", secret.to_str().unwrap(), "../..", "page.html"] {
            let refused = ask(named, Outside::Refused).unwrap_err();
            assert!(refused.cause.contains("outside"), "{named}: {refused:?}");
            assert!(ask(named, Outside::Allowed).is_ok(), "{named}");
        }
        // Other folders of the same git work tree are allowed like the app's own.
        fs::create_dir(root.join("clone/.git")).unwrap();
        for named in ["../..", "page.html"] {
            assert!(ask(named, Outside::Refused).is_ok(), "{named}");
        }
        assert!(ask("link", Outside::Refused).is_err());
        assert!(ask("../../..", Outside::Refused).is_err());
    }
}
