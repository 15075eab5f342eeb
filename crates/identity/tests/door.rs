//! Who gets through a fleet's door, and whose door members go through: whole handshakes in memory.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use identity::{
    Authority, Credentials, Invite, InviteSecret, MemberIdentity, MemberKey, PeerCertificate,
};
use model::Role;
use rustls::pki_types::ServerName;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection,
};
use tempfile::TempDir;

const DAY: Duration = Duration::from_hours(24);

/// A fleet with one server.
struct Fleet {
    folder: TempDir,
    authority: Authority,
}

impl Fleet {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority.pem");
        let authority = Authority::open_or_create(&path, SystemTime::now()).unwrap();
        Self { folder, authority }
    }

    fn key(&self, name: &str) -> MemberKey {
        MemberKey::open_or_create(&self.folder.path().join(format!("{name}.pem"))).unwrap()
    }

    fn identity(&self, role: Role, name: &str) -> MemberIdentity {
        MemberIdentity { fleet: self.authority.fleet(), role, name: name.parse().unwrap() }
    }

    fn server(&self) -> Credentials {
        let identity = self.identity(Role::Server, "server");
        self.authority.server(self.key("server"), &identity, SystemTime::now()).unwrap()
    }

    fn member(&self, role: Role, name: &str, at: SystemTime) -> Credentials {
        let key = self.key(name);
        let request = key.request().unwrap();
        let certificate = self.authority.sign(&request, &self.identity(role, name), at).unwrap();
        Credentials::new(key, certificate, vec![self.authority.certificate().clone()]).unwrap()
    }

    fn invite(&self) -> Invite {
        Invite {
            addresses: vec!["127.0.0.1:1".into()],
            authority: self.authority.fingerprint(),
            role: Role::Host,
            name: "web-1".parse().unwrap(),
            secret: InviteSecret::draw().unwrap(),
        }
    }
}

/// Shakes hands, and tells whom the door sees.
fn shake(client: ClientConfig, server: &Credentials) -> Result<Option<PeerCertificate>, Error> {
    shake_with(client, identity::door(server).unwrap())
}

fn shake_with(
    client: ClientConfig,
    server: ServerConfig,
) -> Result<Option<PeerCertificate>, Error> {
    let name = ServerName::try_from("whatever.invalid").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        carry(|bytes| client.write_tls(bytes), |bytes| server.read_tls(bytes));
        server.process_new_packets()?;
        carry(|bytes| server.write_tls(bytes), |bytes| client.read_tls(bytes));
        client.process_new_packets()?;
    }
    let shown = server.peer_certificates().and_then(<[_]>::first);
    Ok(shown.map(|certificate| PeerCertificate::of(certificate).unwrap()))
}

fn carry(
    write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<usize>,
    read: impl FnOnce(&mut &[u8]) -> std::io::Result<usize>,
) {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    if !bytes.is_empty() {
        assert_eq!(read(&mut bytes.as_slice()).unwrap(), bytes.len());
    }
}

fn refused(result: Result<Option<PeerCertificate>, Error>) -> CertificateError {
    match result {
        Err(Error::InvalidCertificate(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_is_invited_believes_the_authority_of_the_invite_alone() {
    let (ours, theirs) = (Fleet::new(), Fleet::new());
    let join = || identity::join(&ours.invite()).unwrap();
    assert_eq!(shake(join(), &ours.server()), Ok(None));
    let why = refused(shake(join(), &theirs.server()));
    assert_eq!(why, CertificateError::UnknownIssuer);
}

#[test]
fn a_member_is_known_by_the_name_that_the_authority_gave_it() {
    let fleet = Fleet::new();
    let web = fleet.member(Role::Host, "web-1", SystemTime::now());
    let seen = shake(identity::member(&web).unwrap(), &fleet.server()).unwrap().unwrap();
    assert_eq!(seen.identity, fleet.identity(Role::Host, "web-1"));
    assert_eq!(&seen, web.own());
    assert_eq!(seen.key, web.key().fingerprint());
}

#[test]
fn a_request_for_a_certificate_does_not_choose_its_name() {
    let fleet = Fleet::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["server".to_owned()]).unwrap();
    let wanted = fleet.identity(Role::Server, "server").to_string();
    params.subject_alt_names = vec![rcgen::SanType::URI(wanted.try_into().unwrap())];
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = params.serialize_request(&key).unwrap();
    let given = fleet.identity(Role::Proxy, "lb-1");
    let certificate = fleet.authority.sign(request.der(), &given, SystemTime::now()).unwrap();
    assert_eq!(PeerCertificate::of(&certificate).unwrap().identity, given);
}

#[test]
fn a_request_that_its_key_has_not_signed_gets_nothing() {
    let fleet = Fleet::new();
    let mut request = fleet.key("web-1").request().unwrap();
    let last = request.len() - 1;
    request[last] ^= 1;
    let given = fleet.identity(Role::Host, "web-1");
    let error = fleet.authority.sign(&request, &given, SystemTime::now()).unwrap_err();
    assert_eq!(error.to_string(), "the request for a certificate cannot be read");
}

#[test]
fn another_fleet_is_refused_at_both_ends() {
    let (ours, theirs) = (Fleet::new(), Fleet::new());
    let web = ours.member(Role::Host, "web-1", SystemTime::now());
    let why = refused(shake(identity::member(&web).unwrap(), &theirs.server()));
    assert_eq!(why, CertificateError::UnknownIssuer);
    // A door that believes our server cannot be opened with a certificate of theirs.
    let stranger = theirs.member(Role::Host, "web-1", SystemTime::now());
    let mut config = identity::member(&stranger).unwrap();
    config.dangerous().set_certificate_verifier(Arc::new(BelievesAll));
    let why = refused(shake(config, &ours.server()));
    assert_eq!(why, CertificateError::UnknownIssuer);
}

#[test]
fn a_member_cannot_pose_as_the_server_nor_the_server_as_a_member() {
    let fleet = Fleet::new();
    let (web, lb) = (
        fleet.member(Role::Host, "web-1", SystemTime::now()),
        fleet.member(Role::Proxy, "lb-1", SystemTime::now()),
    );
    refused(shake(identity::member(&lb).unwrap(), &web));
    refused(shake(identity::join(&fleet.invite()).unwrap(), &web));
    let why = refused(shake(identity::member(&fleet.server()).unwrap(), &fleet.server()));
    assert_eq!(why, CertificateError::NotValidForName);
}

#[test]
fn a_member_whose_certificate_has_run_out_gets_to_the_door_to_renew_it() {
    let fleet = Fleet::new();
    let now = SystemTime::now();
    let web = fleet.member(Role::Host, "web-1", now - 40 * DAY);
    let seen = shake(identity::member(&web).unwrap(), &fleet.server()).unwrap().unwrap();
    assert!(seen.validity.is_over(now));
    // The key outlives the certificate.
    let key = seen.key;
    let request = web.key().request().unwrap();
    let certificate = fleet.authority.sign(&request, &seen.identity, now).unwrap();
    let web = web.renewed(certificate, vec![fleet.authority.certificate().clone()]).unwrap();
    let seen = shake(identity::member(&web).unwrap(), &fleet.server()).unwrap().unwrap();
    assert!(!seen.validity.is_over(now) && seen.key == key);
}

#[test]
fn a_server_whose_certificate_has_run_out_commands_nobody() {
    let fleet = Fleet::new();
    let identity = fleet.identity(Role::Server, "server");
    let then = SystemTime::now() - 40 * DAY;
    let server = fleet.authority.server(fleet.key("server"), &identity, then).unwrap();
    let web = fleet.member(Role::Host, "web-1", SystemTime::now());
    let why = refused(shake(identity::member(&web).unwrap(), &server));
    assert_eq!(why, CertificateError::Expired);
}

#[test]
fn a_clock_that_is_hours_behind_takes_a_new_certificate() {
    let fleet = Fleet::new();
    let web = fleet.member(Role::Host, "web-1", SystemTime::now() + DAY - Duration::from_mins(1));
    let validity = web.own().validity;
    assert!(validity.from <= SystemTime::now());
    // At two thirds of 31 days.
    let renewal = validity.renewal().duration_since(validity.from).unwrap();
    assert_eq!(renewal, 31 * DAY * 2 / 3);
}

#[test]
fn keys_are_private_and_come_back_as_they_were() {
    use std::os::unix::fs::PermissionsExt;
    let fleet = Fleet::new();
    let path = |name: &str| fleet.folder.path().join(name);
    let web = fleet.member(Role::Host, "web-1", SystemTime::now());
    web.save(&path("web-1.pem")).unwrap();
    let again = Credentials::open(&path("web-1.pem")).unwrap().unwrap();
    assert_eq!((again.own(), again.authorities()), (web.own(), web.authorities()));
    let authority = Authority::open_or_create(&path("authority.pem"), SystemTime::now()).unwrap();
    assert_eq!(authority.fingerprint(), fleet.authority.fingerprint());
    assert_eq!(authority.fleet(), fleet.authority.fleet());
    for name in ["web-1.pem", "authority.pem"] {
        let mode = std::fs::metadata(path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // A key alone: the member has been invited and has not joined.
    fleet.key("web-2");
    assert!(Credentials::open(&path("web-2.pem")).unwrap().is_none());
}

#[test]
fn a_damaged_file_of_keys_is_named_and_never_replaced() {
    let fleet = Fleet::new();
    let path = fleet.folder.path().join("authority.pem");
    let whole = std::fs::read_to_string(&path).unwrap();
    let other = std::fs::read_to_string(Fleet::new().folder.path().join("authority.pem")).unwrap();
    let key_of_another = replace_key(&whole, &other);
    for damaged in ["", &whole[..whole.len() / 2], &whole[..whole.len() - 40], &key_of_another] {
        std::fs::write(&path, damaged).unwrap();
        let error = Authority::open_or_create(&path, SystemTime::now()).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert_eq!(read(&path), damaged);
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The certificates of one file with the key of another.
fn replace_key(certificates: &str, key: &str) -> String {
    let end = "-----END PRIVATE KEY-----\n";
    let (key, _) = key.split_once(end).unwrap();
    let (_, certificates) = certificates.split_once(end).unwrap();
    format!("{key}{end}{certificates}")
}

/// An attacker's client, which does not care whose door that is.
#[derive(Debug)]
struct BelievesAll;

impl rustls::client::danger::ServerCertVerifier for BelievesAll {
    fn verify_server_cert(
        &self,
        _end_entity: &rustls::pki_types::CertificateDer<'_>,
        _intermediates: &[rustls::pki_types::CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &rustls::pki_types::CertificateDer<'_>,
        _signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &rustls::pki_types::CertificateDer<'_>,
        _signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[test]
fn a_host_answers_proxies_of_its_fleet_alone_and_they_ask_nobody_but_hosts() {
    let (ours, theirs) = (Fleet::new(), Fleet::new());
    let now = SystemTime::now();
    let host = ours.member(Role::Host, "web-1", now);
    let proxy = ours.member(Role::Proxy, "lb-1", now);
    let answers = || identity::host_for_proxies(&host).unwrap();
    let asks = |proxy: &Credentials| identity::proxy_to_hosts(proxy).unwrap();
    let seen = shake_with(asks(&proxy), answers()).unwrap().unwrap();
    assert_eq!(seen.identity.name.as_str(), "lb-1");
    // Another host, a proxy of another fleet, and one without a certificate.
    let other = ours.member(Role::Host, "web-2", now);
    refused(shake_with(asks(&other), answers()));
    refused(shake_with(asks(&theirs.member(Role::Proxy, "lb-1", now)), answers()));
    let nameless = shake_with(identity::join(&ours.invite()).unwrap(), answers());
    assert!(nameless.is_err(), "{nameless:?}");
    // Neither the server nor another proxy can pass as a host.
    for answerer in [ours.server(), ours.member(Role::Proxy, "lb-2", now)] {
        refused(shake_with(asks(&proxy), identity::host_for_proxies(&answerer).unwrap()));
    }
}
