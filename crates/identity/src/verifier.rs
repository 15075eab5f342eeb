//! Whether a certificate comes from an authority of the fleet. Dates, removal and what a member may do are
//! judged by whoever reads the certificate: one that has run out must still be able to renew itself.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use model::Role;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::certificate::PeerCertificate;
use crate::fingerprint::Fingerprint;
use crate::member::FleetId;

/// The authorities that are believed.
#[derive(Clone, Debug)]
pub(crate) enum TrustedAuthorities {
    /// The one with this fingerprint, which the other end has to show: it is known from an invite.
    Invited(Fingerprint),
    /// These, and certificates of this fleet only.
    Known { fleet: FleetId, authorities: Vec<CertificateDer<'static>> },
}

/// Checks the certificate at the other end of a connection.
#[derive(Debug)]
pub(crate) struct FleetVerifier {
    pub(crate) trusted: TrustedAuthorities,
    pub(crate) wanted: PeerRole,
    pub(crate) provider: Arc<CryptoProvider>,
}

/// Whose certificate it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerRole {
    /// A server's.
    Server,
    /// A member's. One without a certificate passes, which may only join.
    Member,
    /// That of a member with this role.
    Only(Role),
}

impl FleetVerifier {
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        shown: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let invited: Vec<CertificateDer<'_>>;
        let authorities = match &self.trusted {
            TrustedAuthorities::Known { authorities, .. } => authorities.as_slice(),
            TrustedAuthorities::Invited(fingerprint) => {
                let of = |shown: &&CertificateDer<'_>| Fingerprint::of(shown).is(fingerprint);
                invited = shown.iter().find(of).cloned().into_iter().collect();
                &invited
            }
        };
        let anchors = authorities.iter().map(anchor_from_trusted_cert);
        let anchors = anchors.collect::<Result<Vec<_>, _>>().map_err(|_| unknown_issuer())?;
        let usage = match self.wanted {
            PeerRole::Server => KeyUsage::server_auth(),
            PeerRole::Member | PeerRole::Only(_) => KeyUsage::client_auth(),
        };
        let peer = PeerCertificate::of(certificate).map_err(|_| bad_encoding())?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = EndEntityCert::try_from(certificate).map_err(|_| bad_encoding())?;
        // The authority's word is asked for, not the date: see the module's comment. A server's must not have
        // run out, since nothing but its date says that it may still command.
        let at = match self.wanted {
            PeerRole::Member | PeerRole::Only(_) => now.min(last_second(&peer)),
            PeerRole::Server => now,
        };
        parsed
            .verify_for_usage(algorithms, &anchors, &[], at, usage, None, None)
            .map_err(in_rustls)?;
        let (fleet, role) = (peer.identity.fleet, peer.identity.role);
        let of_the_fleet = match &self.trusted {
            TrustedAuthorities::Known { fleet: own, .. } => fleet == *own,
            TrustedAuthorities::Invited(_) => true,
        };
        let is_wanted = match self.wanted {
            PeerRole::Server => role == Role::Server,
            PeerRole::Member => role != Role::Server,
            PeerRole::Only(wanted) => role == wanted,
        };
        if !of_the_fleet || !is_wanted {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(())
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A member looks at the server, or a proxy at a host.
impl ServerCertVerifier for FleetVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        // Members know the fleet, and whatever address its server has today.
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_signature()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// The server's door looks at a member, or a host at a proxy. Without a certificate one can do nothing but join.
impl ClientCertVerifier for FleetVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.wanted != PeerRole::Member
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_signature()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// Returns the last second in which a certificate is valid.
fn last_second(peer: &PeerCertificate) -> UnixTime {
    let until = peer.validity.until.duration_since(UNIX_EPOCH);
    UnixTime::since_unix_epoch(until.unwrap_or_default())
}

/// TLS 1.2 is offered by neither end.
fn tls12_signature() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
}

fn unknown_issuer() -> Error {
    CertificateError::UnknownIssuer.into()
}

fn bad_encoding() -> Error {
    CertificateError::BadEncoding.into()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "webpki has fifty errors, and more to come")]
fn in_rustls(error: webpki::Error) -> Error {
    match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired.into(),
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet.into(),
        webpki::Error::UnknownIssuer => unknown_issuer(),
        error => CertificateError::Other(rustls::OtherError(Arc::new(error))).into(),
    }
}
