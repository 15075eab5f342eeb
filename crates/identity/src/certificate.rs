//! Reads certificates. Whether an authority is behind one is for the verifier to check.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::IdentityError;
use crate::fingerprint::Fingerprint;
use crate::member::MemberIdentity;

/// The certificate of whoever is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Who that is.
    pub identity: MemberIdentity,
    /// The fingerprint of their public key, which outlives renewals.
    pub key: Fingerprint,
    /// When the certificate is valid.
    pub validity: Validity,
}

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: SystemTime,
    /// Not after.
    pub until: SystemTime,
}

impl Validity {
    /// Whether the certificate has run out.
    pub fn is_over(&self, now: SystemTime) -> bool {
        now > self.until
    }

    /// When to renew: at two thirds of its life.
    pub fn renewal(&self) -> SystemTime {
        let life = self.until.duration_since(self.from).unwrap_or_default();
        self.from + life * 2 / 3
    }
}

impl PeerCertificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// If it cannot be read, or does not say who its owner is.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let parsed = parse(certificate)?;
        let identity = uri_of(&parsed)?.parse().map_err(IdentityError::Stranger)?;
        let validity = parsed.validity();
        Ok(Self {
            identity,
            key: Fingerprint::of(parsed.public_key().raw),
            validity: Validity {
                from: time_of(validity.not_before.timestamp()),
                until: time_of(validity.not_after.timestamp()),
            },
        })
    }

    /// Whether a certificate is for this key.
    pub(crate) fn has_key(certificate: &CertificateDer<'_>, public_key: &[u8]) -> bool {
        parse(certificate).is_ok_and(|parsed| parsed.public_key().raw == public_key)
    }
}

/// Returns the one URI of a certificate. A certificate with any other name is refused.
pub(crate) fn uri(certificate: &CertificateDer<'_>) -> Result<String, IdentityError> {
    uri_of(&parse(certificate)?)
}

fn uri_of(parsed: &X509Certificate<'_>) -> Result<String, IdentityError> {
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.ok_or(IdentityError::Stranger("it has no name"))?;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => Ok((*uri).to_owned()),
        _ => Err(IdentityError::Stranger("its name is not one URI")),
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IdentityError> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) | Err(_) => Err(IdentityError::Stranger("it cannot be read")),
    }
}

fn time_of(timestamp: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp).unwrap_or(0))
}
