//! ServedContent that hosts fetch from their server: lists of files and contents of files by digest, and values of
//! variables. Each is one request; the content of a file can be continued where it broke off.

use std::fmt;

use model::{AppName, Digest};
use thiserror::Error;
use tokio::io::AsyncRead;

/// The prefix of paths of content.
pub(crate) const CONTENT: &str = "/content/";

/// A request of a host for content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentRequest {
    /// The list of a release's files.
    Manifest {
        /// The app.
        app: AppName,
        /// The digest of the list.
        digest: Digest,
    },
    /// The content of a file.
    Blob {
        /// The app, a release of which has the file.
        app: AppName,
        /// The digest of the content.
        digest: Digest,
        /// Number of bytes to leave out at the beginning.
        from: u64,
    },
    /// The value of a variable.
    Value {
        /// The app.
        app: AppName,
        /// The name of the variable.
        name: String,
        /// The digest of the value.
        digest: Digest,
    },
}

/// ServedContent for a host, as it is read from the store.
pub struct ServedContent(pub Box<dyn AsyncRead + Send + Unpin>);

impl fmt::Debug for ServedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedContent").finish_non_exhaustive()
    }
}

/// The reason why a host does not get content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ContentRefusal {
    /// No release that runs on the host, or will, needs it.
    #[error("no release of this host needs it")]
    NotYours,
    /// The store does not have it.
    #[error("it is not stored")]
    NotStored,
    /// The store could not be read.
    #[error("the store cannot be read")]
    Unreadable,
}

impl ContentRequest {
    /// Returns the path and query of a request for this.
    pub fn to_path(&self) -> String {
        match self {
            Self::Manifest { app, digest } => format!("{CONTENT}manifest/{app}/{digest}"),
            Self::Blob { app, digest, from } => format!("{CONTENT}blob/{app}/{digest}/{from}"),
            Self::Value { app, name, digest } => format!("{CONTENT}value/{app}/{name}/{digest}"),
        }
    }

    /// Reads a path; `None` if it is none of content.
    pub fn from_path(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix(CONTENT)?.split('/').collect();
        Some(match parts[..] {
            ["manifest", app, digest] => {
                Self::Manifest { app: app.parse().ok()?, digest: digest.parse().ok()? }
            }
            ["blob", app, digest, from] => Self::Blob {
                app: app.parse().ok()?,
                digest: digest.parse().ok()?,
                from: from.parse().ok()?,
            },
            ["value", app, name, digest] => Self::Value {
                app: app.parse().ok()?,
                name: name.to_owned(),
                digest: digest.parse().ok()?,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_is_wanted_and_nothing_else_does() {
        let (app, digest): (AppName, _) =
            ("web".parse().expect("a name"), Digest::from_bytes([7; 32]));
        for wanted in [
            ContentRequest::Manifest { app: app.clone(), digest },
            ContentRequest::Blob { app: app.clone(), digest, from: 1 << 40 },
            ContentRequest::Value { app, name: "DATABASE_URL".into(), digest },
        ] {
            assert_eq!(ContentRequest::from_path(&wanted.to_path()), Some(wanted));
        }
        for wrong in [
            "/content/blob/web/7/0".to_owned(),
            format!("/content/blob/{digest}/0"),
            format!("/content/blob/web/{digest}/-1"),
            format!("/content/blob/web/{digest}/0/0"),
            format!("/content/manifest/../{digest}"),
            format!("/content/env/web/{digest}"),
        ] {
            assert_eq!(ContentRequest::from_path(&wrong), None, "{wrong}");
        }
    }
}
