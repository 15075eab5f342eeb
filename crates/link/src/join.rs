//! How a member joins a fleet with its invite, and renews its certificate. Both are one request: a
//! certificate request in DER, authorised by the invite's secret or by the certificate so far. The answer is
//! PEM: the certificate, then the authorities that the member may believe, the present one first.

use std::sync::Arc;

use identity::{Credentials, Fingerprint, Invite, MemberKey};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use crate::dial::Requests;
use crate::error::LinkError;

/// The path of a request to join.
pub(crate) const JOIN: &str = "/join";
/// The path of a request for a newer certificate.
pub(crate) const RENEW: &str = "/renew";
/// The tag of certificates in PEM.
const TAG: &str = "CERTIFICATE";

/// A certificate, and the authorities that its owner may believe.
pub(crate) struct Certified {
    pub certificate: CertificateDer<'static>,
    pub authorities: Vec<CertificateDer<'static>>,
}

impl Certified {
    /// Returns both as PEM.
    pub fn to_pem(&self) -> String {
        let all = std::iter::once(&self.certificate).chain(&self.authorities);
        pem::encode_many(&all.map(|it| pem::Pem::new(TAG, it.to_vec())).collect::<Vec<_>>())
    }

    fn from_pem(text: &[u8]) -> Option<Self> {
        let all = pem::parse_many(text).ok()?;
        let mut all = all.into_iter().filter(|it| it.tag() == TAG);
        let mut next = || Some(CertificateDer::from(all.next()?.into_contents()));
        let certificate = next()?;
        Some(Self { certificate, authorities: std::iter::from_fn(next).collect() })
    }
}

/// Joins the fleet of an invite: asks for a certificate for this key, at one address of the invite after
/// the other.
///
/// # Errors
/// If no address of the invite answers, or the server refuses the invite.
pub async fn join(invite: &Invite, key: MemberKey) -> Result<Credentials, LinkError> {
    let tls = Arc::new(identity::join(invite)?);
    let request = key.request()?;
    let secret = invite.secret.reveal();
    let mut last = LinkError::NoServer;
    for server in &invite.addresses {
        match certify(server, &tls, JOIN, Some(&secret), request.clone()).await {
            Ok(Certified { certificate, authorities }) => {
                let first = authorities.first().map(|it| Fingerprint::of(it));
                if !first.is_some_and(|first| first.is(&invite.authority)) {
                    let why = "it comes from another authority than the invite".to_owned();
                    return Err(LinkError::Answer { server: server.clone(), why });
                }
                return Ok(Credentials::new(key, certificate, authorities)?);
            }
            // The fleet has answered. Its other addresses would say the same.
            Err(refused @ LinkError::Refused { .. }) => return Err(refused),
            Err(other) => last = other,
        }
    }
    Err(last)
}

/// Renews a member's certificate at one server.
pub(crate) async fn renew(server: &str, of: &Credentials) -> Result<Certified, LinkError> {
    let tls = Arc::new(identity::member(of)?);
    certify(server, &tls, RENEW, None, of.key().request()?).await
}

async fn certify(
    server: &str,
    tls: &Arc<ClientConfig>,
    path: &str,
    secret: Option<&str>,
    request: Vec<u8>,
) -> Result<Certified, LinkError> {
    let mut requests = Requests::connect(server, tls).await?;
    let answer = requests.post(path, secret, request).await?;
    Certified::from_pem(&answer).ok_or_else(|| LinkError::Answer {
        server: server.to_owned(),
        why: "it is no certificate".to_owned(),
    })
}
