//! Content that hosts fetch from their server: lists of files and contents of files by digest, and values of
//! variables. Each is one request; the content of a file can be continued where it broke off.

use std::fs::File;

use model::{AppName, Digest};
use thiserror::Error;

/// The prefix of paths of content.
pub(crate) const CONTENT: &str = "/content/";

/// What a host asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The list of a release's files.
    Manifest {
        /// The app.
        app: AppName,
        /// The digest of the list.
        digest: Digest,
    },
    /// The content of a file.
    Blob {
        /// The digest of the content.
        digest: Digest,
        /// Number of bytes to leave out at the beginning.
        from: u64,
    },
    /// The value of a variable.
    Value {
        /// The app.
        app: AppName,
        /// The digest of the value.
        digest: Digest,
    },
}

/// Content for a host.
#[derive(Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The rest of a file, of this length, from its present position on.
    File(File, u64),
}

/// The reason why a host does not get content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ContentRefusal {
    /// No release that runs on the host, or will, needs it.
    #[error("no release of this host needs it")]
    NotYours,
    /// It is not stored.
    #[error("it is not stored")]
    NotStored,
    /// The store could not be read.
    #[error("the store cannot be read")]
    Unreadable,
}

impl Wanted {
    /// Returns the path and query of a request for this.
    pub fn to_path(&self) -> String {
        match self {
            Self::Manifest { app, digest } => format!("{CONTENT}manifest/{app}/{digest}"),
            Self::Blob { digest, from } => format!("{CONTENT}blob/{digest}/{from}"),
            Self::Value { app, digest } => format!("{CONTENT}value/{app}/{digest}"),
        }
    }

    /// Reads a path; `None` if it is none of content.
    pub fn from_path(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix(CONTENT)?.split('/');
        let (kind, first, second) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some(match kind {
            "manifest" => Self::Manifest { app: first.parse().ok()?, digest: second.parse().ok()? },
            "blob" => Self::Blob { digest: first.parse().ok()?, from: second.parse().ok()? },
            "value" => Self::Value { app: first.parse().ok()?, digest: second.parse().ok()? },
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
            Wanted::Manifest { app: app.clone(), digest },
            Wanted::Blob { digest, from: 1 << 40 },
            Wanted::Value { app, digest },
        ] {
            assert_eq!(Wanted::from_path(&wanted.to_path()), Some(wanted));
        }
        for wrong in [
            "/content/blob/7/0".to_owned(),
            format!("/content/blob/{digest}"),
            format!("/content/blob/{digest}/-1"),
            format!("/content/blob/{digest}/0/0"),
            format!("/content/manifest/../{digest}"),
            format!("/content/env/web/{digest}"),
        ] {
            assert_eq!(Wanted::from_path(&wrong), None, "{wrong}");
        }
    }
}
