//! A member's credentials: its key, its certificate, and the authorities that it trusts.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::certificate::PeerCertificate;
use crate::error::IdentityError;
use crate::fingerprint::Fingerprint;
use crate::pem_file::{PemFile, read, write};

/// A member's private key. It never leaves the member's machine.
pub struct MemberKey(KeyPair);

impl std::fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MemberKey").field(&self.fingerprint()).finish()
    }
}

impl MemberKey {
    /// Reads the key in this file, or makes a new one there if there is no file.
    ///
    /// # Errors
    /// If the file is damaged, or cannot be read or written.
    pub fn open_or_create(path: &Path) -> Result<Self, IdentityError> {
        if let Some(file) = read(path)? {
            return Self::from_der(&file.key, path);
        }
        let key = KeyPair::generate()?;
        write(path, &PemFile { key: key.serialize_der(), certificates: Vec::new() })
            .map_err(|source| IdentityError::File { path: path.to_owned(), source })?;
        Ok(Self(key))
    }

    fn from_der(der: &[u8], path: &Path) -> Result<Self, IdentityError> {
        let damaged =
            IdentityError::Damaged { path: path.to_owned(), why: "its key cannot be read" };
        KeyPair::try_from(der).map(Self).map_err(|_| damaged)
    }

    /// The fingerprint of the public key.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0.subject_public_key_info())
    }

    /// A request for a certificate, signed with the key. It names nobody: who its owner is, the authority
    /// says.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn request(&self) -> Result<Vec<u8>, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        Ok(params.serialize_request(&self.0)?.der().to_vec())
    }

    fn copy(&self) -> Result<Self, IdentityError> {
        Ok(Self(KeyPair::try_from(self.0.serialize_der())?))
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

/// A member's key, with the certificate for it and the authorities that the member believes.
#[derive(Debug)]
pub struct Credentials {
    key: MemberKey,
    certificate: CertificateDer<'static>,
    authorities: Vec<CertificateDer<'static>>,
    own: PeerCertificate,
}

impl Credentials {
    /// Puts them together.
    ///
    /// # Errors
    /// If the certificate is for another key, or names nobody; or if there is no authority.
    pub fn new(
        key: MemberKey,
        certificate: CertificateDer<'static>,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, IdentityError> {
        if !PeerCertificate::has_key(&certificate, &key.0.subject_public_key_info()) {
            return Err(IdentityError::Stranger("it is for another key"));
        }
        if authorities.is_empty() {
            return Err(IdentityError::Stranger("there is no authority behind it"));
        }
        let own = PeerCertificate::of(&certificate)?;
        Ok(Self { key, certificate, authorities, own })
    }

    /// Reads what [`Self::save`] wrote; `None` if the member has not joined yet: there is no file, or a key
    /// alone.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read.
    pub fn open(path: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(file) = read(path)? else { return Ok(None) };
        let key = MemberKey::from_der(&file.key, path)?;
        let mut certificates = file.certificates.into_iter();
        let Some(certificate) = certificates.next() else { return Ok(None) };
        let damaged = IdentityError::Damaged {
            path: path.to_owned(),
            why: "its certificate does not belong to its key or to any authority in it",
        };
        Self::new(key, certificate, certificates.collect()).map(Some).map_err(|_| damaged)
    }

    /// Writes all of it into one private file.
    ///
    /// # Errors
    /// If it cannot be written; what was there before is still there then.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let mut certificates = vec![self.certificate.clone()];
        certificates.extend(self.authorities.iter().cloned());
        write(path, &PemFile { key: self.key.0.serialize_der(), certificates })
            .map_err(|source| IdentityError::File { path: path.to_owned(), source })
    }

    /// Who the member is, by its own certificate.
    pub fn own(&self) -> &PeerCertificate {
        &self.own
    }

    /// The member's key.
    pub fn key(&self) -> &MemberKey {
        &self.key
    }

    /// The authorities that it believes.
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// Returns the same key with a newer certificate.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn renewed(
        &self,
        certificate: CertificateDer<'static>,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, IdentityError> {
        Self::new(self.key.copy()?, certificate, authorities)
    }

    /// Key and chain as TLS shows them. The authority is part of the chain: whoever joins knows it by its
    /// fingerprint alone.
    pub(crate) fn certified(&self) -> Result<Arc<CertifiedKey>, IdentityError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.0.serialize_der()));
        let signing = rustls::crypto::ring::sign::any_ecdsa_type(&key)?;
        let mut chain = vec![self.certificate.clone()];
        chain.extend(self.authorities.first().cloned());
        Ok(Arc::new(CertifiedKey::new(chain, signing)))
    }
}
