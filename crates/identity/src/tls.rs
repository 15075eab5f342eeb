//! TLS 1.3 between members and servers: what each end shows and whom it believes.

use std::sync::Arc;

use model::Role;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::credentials::Credentials;
use crate::error::IdentityError;
use crate::invite::Invite;
use crate::verifier::{FleetVerifier, PeerRole, TrustedAuthorities};

/// Returns the TLS settings of a server's door. They let in members of the fleet, and clients without a
/// certificate, which may only join. A certificate that has run out passes; the one behind the door has to
/// look at its dates.
///
/// # Errors
/// If TLS cannot be set up with these keys.
pub fn door(server: &Credentials) -> Result<ServerConfig, IdentityError> {
    listening(server, PeerRole::Member)
}

/// Returns the TLS settings for joining: the server has to belong to the authority that the invite names.
///
/// # Errors
/// If TLS cannot be set up.
pub fn join(invite: &Invite) -> Result<ClientConfig, IdentityError> {
    let provider = provider();
    let (trusted, wanted) = (TrustedAuthorities::Invited(invite.authority), PeerRole::Server);
    let verifier = Arc::new(FleetVerifier { trusted, wanted, provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

/// Returns the TLS settings of a member, which shows its certificate and connects to servers of its fleet only.
///
/// # Errors
/// If TLS cannot be set up with these keys.
pub fn member(member: &Credentials) -> Result<ClientConfig, IdentityError> {
    connecting(member, PeerRole::Server)
}

/// Returns the TLS settings of a host that answers proxies of its fleet, and nobody else.
///
/// # Errors
/// If TLS cannot be set up with these keys.
pub fn host_for_proxies(host: &Credentials) -> Result<ServerConfig, IdentityError> {
    listening(host, PeerRole::Only(Role::Proxy))
}

/// Returns the TLS settings of a proxy that asks hosts of its fleet, and nobody else.
///
/// # Errors
/// If TLS cannot be set up with these keys.
pub fn proxy_to_hosts(proxy: &Credentials) -> Result<ClientConfig, IdentityError> {
    connecting(proxy, PeerRole::Only(Role::Host))
}

fn listening(own: &Credentials, wanted: PeerRole) -> Result<ServerConfig, IdentityError> {
    let provider = provider();
    let (trusted, of) = (known(own), provider.clone());
    let verifier = Arc::new(FleetVerifier { trusted, wanted, provider: of });
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified()?)));
    Ok(config)
}

fn connecting(own: &Credentials, wanted: PeerRole) -> Result<ClientConfig, IdentityError> {
    let provider = provider();
    let (trusted, of) = (known(own), provider.clone());
    let verifier = Arc::new(FleetVerifier { trusted, wanted, provider: of });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified()?)));
    Ok(config)
}

fn known(of: &Credentials) -> TrustedAuthorities {
    let authorities: Vec<CertificateDer<'static>> = of.authorities().to_vec();
    TrustedAuthorities::Known { fleet: of.own().identity.fleet, authorities }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
