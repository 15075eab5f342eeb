//! The fleet's own certificate authority. Its key never leaves the server's data folder.

use std::path::Path;
use std::time::{Duration, SystemTime};

use model::Role;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use time::OffsetDateTime;

use crate::certificate::PeerCertificate;
use crate::credentials::{Credentials, MemberKey};
use crate::error::IdentityError;
use crate::fingerprint::Fingerprint;
use crate::member::{FleetId, MemberIdentity};
use crate::pem_file::{PemFile, read, write};

const DAY: Duration = Duration::from_hours(24);
/// How long the authority lives.
const AUTHORITY_LIFE: Duration = Duration::from_hours(24 * 3_652);
/// How long a certificate lives.
pub(crate) const LIFE: Duration = Duration::from_hours(24 * 30);
/// Certificates begin this long before they are made: a member's clock may be behind.
const BEFORE: Duration = DAY;

/// A fleet's certificate authority.
pub struct Authority {
    fleet: FleetId,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the authority in this file, or makes a new one there if there is no file.
    ///
    /// # Errors
    /// If the file is damaged, or cannot be read or written. One that is there is never replaced.
    pub fn open_or_create(path: &Path, now: SystemTime) -> Result<Self, IdentityError> {
        match read(path)? {
            Some(file) => Self::from_file(file, path),
            None => Self::create(path, now),
        }
    }

    fn create(path: &Path, now: SystemTime) -> Result<Self, IdentityError> {
        let file = |source| IdentityError::File { path: path.to_owned(), source };
        let fleet = FleetId::draw().map_err(|error| file(error.into()))?;
        let key = KeyPair::generate()?;
        let mut params = named(&format!("segue fleet {fleet}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&fleet_uri(fleet))?];
        (params.not_before, params.not_after) = (date(now - BEFORE), date(now + AUTHORITY_LIFE));
        let certificate = params.self_signed(&key)?.der().clone();
        write(path, &PemFile { key: key.serialize_der(), certificates: vec![certificate.clone()] })
            .map_err(file)?;
        Ok(Self { fleet, issuer: Issuer::new(params, key), certificate })
    }

    fn from_file(file: PemFile, path: &Path) -> Result<Self, IdentityError> {
        let damaged = |why| IdentityError::Damaged { path: path.to_owned(), why };
        let certificate = file.certificates.into_iter().next();
        let certificate = certificate.ok_or(damaged("it has no certificate"))?;
        let fleet = fleet_of(&certificate).ok_or(damaged("its certificate names no fleet"))?;
        let key = KeyPair::try_from(file.key.as_slice());
        let key = key.map_err(|_| damaged("its key cannot be read"))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|_| damaged("its certificate is no authority's"))?;
        if !PeerCertificate::has_key(&certificate, &issuer.key().subject_public_key_info()) {
            return Err(damaged("its key belongs to another certificate"));
        }
        Ok(Self { fleet, issuer, certificate })
    }

    /// The fleet.
    pub fn fleet(&self) -> FleetId {
        self.fleet
    }

    /// The authority's certificate, which every member has.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// By what an invite knows the authority.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// A certificate for whoever holds the key of this request. It says what `identity` says, whatever was
    /// asked for, and lives 30 days.
    ///
    /// # Errors
    /// If the request cannot be read, or was not signed with its own key.
    pub fn sign(
        &self,
        request: &[u8],
        identity: &MemberIdentity,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        self.certify(&parsed(request)?.public_key, identity, now)
    }

    /// The fingerprint of the key that a request for a certificate was signed with.
    ///
    /// # Errors
    /// If the request cannot be read, or was not signed with its own key.
    pub fn requested_key(request: &[u8]) -> Result<Fingerprint, IdentityError> {
        Ok(Fingerprint::of(&parsed(request)?.public_key.subject_public_key_info()))
    }

    /// A certificate for a server of this fleet, with its key.
    ///
    /// # Errors
    /// If a certificate cannot be made.
    pub fn server(
        &self,
        key: MemberKey,
        identity: &MemberIdentity,
        now: SystemTime,
    ) -> Result<Credentials, IdentityError> {
        let certificate = self.certify(key.pair(), identity, now)?;
        Credentials::new(key, certificate, vec![self.certificate.clone()])
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        identity: &MemberIdentity,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        let mut params = named(&format!("{} {}", identity.role, identity.name));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match identity.role {
            Role::Server => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
            Role::Host | Role::Proxy => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.subject_alt_names = vec![uri(&identity.to_string())?];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (date(now - BEFORE), date(now + LIFE));
        Ok(params.signed_by(key, &self.issuer)?.der().clone())
    }
}

fn parsed(request: &[u8]) -> Result<CertificateSigningRequestParams, IdentityError> {
    let request = CertificateSigningRequestDer::from(request);
    CertificateSigningRequestParams::from_der(&request).map_err(|_| IdentityError::Request)
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn uri(text: &str) -> Result<SanType, IdentityError> {
    Ok(SanType::URI(text.try_into()?))
}

fn fleet_uri(fleet: FleetId) -> String {
    format!("segue://{fleet}")
}

fn fleet_of(certificate: &CertificateDer<'_>) -> Option<FleetId> {
    let uri = crate::certificate::uri(certificate).ok()?;
    uri.strip_prefix("segue://")?.parse().ok()
}

/// The second that a time lies in; certificates know no shorter ones.
fn date(at: SystemTime) -> OffsetDateTime {
    OffsetDateTime::from(at)
}
