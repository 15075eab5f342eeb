//! Errors of keys, certificates and invites.

use std::io;
use std::path::PathBuf;

/// Why an identity cannot be made, read or believed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file of keys cannot be read or written.
    #[error("cannot use the keys in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of keys is there and does not hold what it should.
    #[error("cannot use the keys in {}: {why}\nhint: restore the file from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault.
        why: &'static str,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A member's request for a certificate is not one.
    #[error("the request for a certificate cannot be read")]
    Request,
    /// A certificate does not say who its owner is.
    #[error("the certificate does not belong to a member of a fleet: {0}")]
    Stranger(&'static str),
    /// A text is not an invite.
    #[error(
        "this is not an invite: {0}\nhint: `segue fleet invite` prints one; it is a single word that begins \
         with `segue-`"
    )]
    Invite(&'static str),
    /// TLS cannot be set up with these keys.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}
