//! A key and its certificates in one private file, so that both are replaced as one.

use std::io;
use std::path::Path;

use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::CertificateDer;

use crate::error::IdentityError;

const KEY: &str = "PRIVATE KEY";
const CERTIFICATE: &str = "CERTIFICATE";

/// The content of the file.
pub(crate) struct PemFile {
    /// The private key as PKCS #8.
    pub(crate) key: Vec<u8>,
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

/// Reads the file; `None` if it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<PemFile>, IdentityError> {
    let bytes = match datadir::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityError::File { path: path.to_owned(), source }),
    };
    let damaged = |why| IdentityError::Damaged { path: path.to_owned(), why };
    let sections = pem::parse_many(&bytes).map_err(|_| damaged("it is not PEM"))?;
    let of = |tag: &'static str| sections.iter().filter(move |section| section.tag() == tag);
    let key = of(KEY).next().ok_or(damaged("it has no key"))?.contents().to_vec();
    let certificates = of(CERTIFICATE).map(|section| section.contents().to_vec().into());
    Ok(Some(PemFile { key, certificates: certificates.collect() }))
}

/// Replaces the file: after a crash of the machine it is the old one or the new one, whole.
pub(crate) fn write(path: &Path, file: &PemFile) -> io::Result<()> {
    let mut sections = vec![Pem::new(KEY, file.key.clone())];
    sections.extend(file.certificates.iter().map(|it| Pem::new(CERTIFICATE, it.to_vec())));
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    datadir::write(path, pem::encode_many_config(&sections, config).as_bytes())
}
