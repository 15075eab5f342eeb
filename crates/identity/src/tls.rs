//! TLS 1.3 between members and servers: what each end shows and whom it believes.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::credentials::Credentials;
use crate::error::IdentityError;
use crate::invite::Invite;
use crate::verifier::{FleetVerifier, TrustedAuthorities};

/// What a server shows at its door, and whom it lets in: members of its fleet, and whoever shows no
/// certificate, who may only join. A certificate that has run out passes; the one behind the door has to
/// look at its dates.
///
/// # Errors
/// If TLS cannot be set up with these keys.
pub fn door(server: &Credentials) -> Result<ServerConfig, IdentityError> {
    let provider = provider();
    let verifier = Arc::new(FleetVerifier { trusted: known(server), provider: provider.clone() });
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver(server.certified()?));
    Ok(config)
}

/// Whom somebody believes who joins: a server of the one authority that the invite names.
///
/// # Errors
/// If TLS cannot be set up.
pub fn join(invite: &Invite) -> Result<ClientConfig, IdentityError> {
    let provider = provider();
    let trusted = TrustedAuthorities::Invited(invite.authority);
    let verifier = Arc::new(FleetVerifier { trusted, provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

/// What a member shows, and whom it believes: servers of its own fleet.
///
/// # Errors
/// If TLS cannot be set up with these keys.
pub fn member(member: &Credentials) -> Result<ClientConfig, IdentityError> {
    let provider = provider();
    let verifier = Arc::new(FleetVerifier { trusted: known(member), provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(member.certified()?)));
    Ok(config)
}

fn known(of: &Credentials) -> TrustedAuthorities {
    let authorities: Vec<CertificateDer<'static>> = of.authorities().to_vec();
    TrustedAuthorities::Known { fleet: of.own().identity.fleet, authorities }
}

fn resolver(key: Arc<CertifiedKey>) -> Arc<dyn ResolvesServerCert> {
    Arc::new(SingleCertAndKey::from(key))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
