//! Who is who in a fleet: the fleet's certificate authority, the invites with which members join, and the
//! certificates by which members and servers know each other. Opens no socket, and knows nothing of
//! instances or traffic.
//!
//! A member proves its invite once, gets a certificate for a key that never leaves its machine, and is known
//! by that certificate from then on. Names in certificates come from the authority alone: what a
//! request for a certificate asks for is ignored.

mod authority;
mod certificate;
mod credentials;
mod error;
mod fingerprint;
mod invite;
mod member;
mod pem_file;
mod tls;
mod verifier;

pub use authority::Authority;
pub use certificate::{PeerCertificate, Validity};
pub use credentials::{Credentials, MemberKey};
pub use error::IdentityError;
pub use fingerprint::Fingerprint;
pub use invite::{Invite, InviteSecret, InviteText};
pub use member::{FleetId, MemberIdentity};
pub use tls::{door, host_for_proxies, join, member, proxy_to_hosts};
