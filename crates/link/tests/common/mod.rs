//! A fleet's server for tests: a real door that notes all it hears, members, and a relay between the two that
//! can be cut.

pub mod relay;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::BoxFuture;
use identity::{
    Authority, Credentials, Fingerprint, Invite, InviteSecret, MemberIdentity, MemberKey,
    PeerCertificate,
};
use link::{
    ContentRefusal, ContentRequest, ControlRun, DoorConfig, DoorEnd, Fetcher, FleetDoor,
    FromMember, Hello, LinkError, Member, MemberEnd, MemberEnded, MemberStanding, Offers,
    ServedContent, SessionTimes, ToMember, ToMembers, ToServer, VERSION, Welcome,
};
use model::{
    Abilities, AppCounters, AppName, Askers, Digest, Gap, Generation, HostAbilities, HostCommand,
    InFlight, InstanceId, MemberName, Millis, Reached, ReleaseNo, Role, TrafficReport,
};
use tempfile::TempDir;

pub use relay::Relay;

/// Longer than anything here takes, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(60);

const TIMES: SessionTimes = SessionTimes {
    heartbeat: Duration::from_millis(100),
    silent: Duration::from_secs(1),
    lost: Duration::from_secs(2),
};

/// What the door heard.
#[derive(Clone, Debug)]
pub enum Said {
    Connected(String),
    Silent(String, String),
    Message(String, FromMember),
}

/// The content that every host may fetch.
pub fn content() -> Vec<u8> {
    (0..1_000_000_u32).map(|n| (n % 251) as u8).collect()
}

/// Connects from another address than the members of the test have.
pub fn stranger(door: SocketAddr) -> std::net::TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
    connect(&socket, &door).unwrap();
    socket.into()
}

pub fn command(by: ControlRun, port: u16) -> ToMember {
    ToMember::Host { by, command: HostCommand::OfferPorts { except: vec![port] } }
}

/// A report in which every map has something.
pub fn traffic(seq: u64) -> FromMember {
    let app: AppName = "web".parse().unwrap();
    let id: InstanceId = "web-7".parse().unwrap();
    let release = ReleaseNo(3);
    let counts = || BTreeMap::from([(release, 7)]);
    let counters = AppCounters {
        requests: 9,
        answers: counts(),
        faults: counts(),
        broken_off: counts(),
        app_5xx: counts(),
        bad: counts(),
        askers: [(release, Askers::default())].into(),
        max_gap_ms: Some(4),
        ..AppCounters::default()
    };
    let report = TrafficReport {
        proxy: "lb-1".parse().unwrap(),
        epoch: 1,
        seq,
        prepared: Generation { term: 2, counter: 8 },
        acknowledged: Generation { term: 2, counter: 7 },
        in_flight: InFlight::Counted([(id.clone(), 2)].into()),
        quiet: [(id.clone(), Millis(5))].into(),
        counters: Some([(app.clone(), counters)].into()),
        gaps: [(app, vec![Gap { seq: 1, ms: 6 }])].into(),
        reached: [(id, Reached::No("connection refused".into()))].into(),
    };
    FromMember::Traffic { report: Box::new(report) }
}

#[derive(Default)]
struct Known {
    /// Invites by the fingerprint of their secret, with the key that used each.
    invites: Vec<(Fingerprint, Role, MemberName, Option<Fingerprint>)>,
    removed: Vec<MemberName>,
    /// True while the server does not know its members yet.
    is_starting: bool,
    /// How often somebody asked about a member meanwhile.
    asked_early: usize,
    redeemed: usize,
}

struct End {
    known: Mutex<Known>,
    said: Mutex<Sender<Said>>,
    folder: std::path::PathBuf,
}

impl End {
    fn say(&self, said: Said) {
        let _ = self.said.lock().unwrap().send(said);
    }
}

impl DoorEnd for End {
    fn welcome(&self) -> Welcome {
        let by = ControlRun { term: 1, run: 1 };
        Welcome { version: VERSION, segue: "test".into(), by, servers: Vec::new() }
    }

    fn redeem(
        &self,
        secret: Fingerprint,
        key: Fingerprint,
    ) -> BoxFuture<'_, Result<(Role, MemberName), String>> {
        let mut known = self.known.lock().unwrap();
        known.redeemed += 1;
        let invite = known.invites.iter_mut().find(|invite| invite.0.is(&secret));
        let answer = match invite {
            None => Err("there is no such invite".to_owned()),
            Some((_, role, name, used)) => {
                if used.get_or_insert(key).is(&key) {
                    Ok((*role, name.clone()))
                } else {
                    Err("the invite was used".to_owned())
                }
            }
        };
        Box::pin(async move { answer })
    }

    fn standing(&self, peer: &PeerCertificate) -> MemberStanding {
        let mut known = self.known.lock().unwrap();
        if known.is_starting {
            known.asked_early += 1;
            return MemberStanding::NotKnownYet;
        }
        let removed = known.removed.contains(&peer.identity.name);
        if removed { MemberStanding::Removed } else { MemberStanding::Member }
    }

    fn connected(&self, member: &PeerCertificate, _from: SocketAddr, _hello: &Hello) {
        self.say(Said::Connected(member.identity.name.to_string()));
    }

    fn silent(&self, member: &MemberIdentity, why: &str) {
        self.say(Said::Silent(member.name.to_string(), why.to_owned()));
    }

    fn receive(&self, member: &MemberIdentity, message: FromMember) {
        self.say(Said::Message(member.name.to_string(), message));
    }

    fn content<'a>(
        &'a self,
        _host: &'a MemberName,
        wanted: ContentRequest,
    ) -> BoxFuture<'a, Result<ServedContent, ContentRefusal>> {
        Box::pin(async move {
            let ContentRequest::Blob { app: _, digest, from } = wanted else {
                return Err(ContentRefusal::NotStored);
            };
            if digest != Digest::from_bytes([7; 32]) {
                return Err(ContentRefusal::NotYours);
            }
            let path = self.folder.join("content");
            std::fs::write(&path, content()).unwrap();
            let mut file = std::fs::File::open(path).unwrap();
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(from)).unwrap();
            Ok(ServedContent(Box::new(tokio::fs::File::from_std(file))))
        })
    }
}

/// A fleet with one server.
pub struct Fleet {
    folder: TempDir,
    authority: Authority,
    end: Arc<End>,
    heard: Receiver<Said>,
    address: SocketAddr,
    door: Option<FleetDoor>,
    runtime: tokio::runtime::Runtime,
}

impl Fleet {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path());
        let (said, heard) = channel();
        let known = Mutex::default();
        let end = End { known, said: Mutex::new(said), folder: folder.path().to_owned() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let end = Arc::new(end);
        let mut fleet = Self { folder, authority, end, heard, address, door: None, runtime };
        fleet.open_door();
        fleet
    }

    pub fn open_door(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        let identity = self.identity(Role::Server, "server");
        let server = self.authority.server(self.key("server"), &identity, SystemTime::now());
        let authority = authority(self.folder.path());
        let config = DoorConfig { authority, server: server.unwrap(), times: TIMES };
        self.door = Some(FleetDoor::open(listener, config, self.end.clone()).unwrap());
    }

    pub fn close_door(&mut self) {
        self.door = None;
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn to_members(&self) -> ToMembers {
        self.door.as_ref().unwrap().to_members()
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Waits until the door has heard this. What it heard before is forgotten.
    pub fn wait(&self, is_it: impl Fn(&Said) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let said = self.heard.recv_timeout(left).expect("the door hears it in time");
            if is_it(&said) {
                return;
            }
        }
    }

    /// Returns what the door has heard since.
    pub fn said(&self) -> Vec<Said> {
        self.heard.try_iter().collect()
    }

    pub fn redeemed(&self) -> usize {
        self.end.known.lock().unwrap().redeemed
    }

    pub fn invite(&self, role: Role, name: &str) -> Invite {
        let invite = Invite {
            addresses: vec![self.address()],
            authority: self.authority.fingerprint(),
            role,
            name: name.parse().unwrap(),
            secret: InviteSecret::draw().unwrap(),
        };
        let known = (invite.secret.fingerprint(), role, invite.name.clone(), None);
        self.end.known.lock().unwrap().invites.push(known);
        invite
    }

    /// Lets a member join and run.
    pub fn joins(&self, role: Role, name: &str) -> Running {
        self.runs(self.join(role, name))
    }

    pub fn joins_through(&self, relay: &Relay, role: Role, name: &str) -> Running {
        Running::start(self.join(role, name), relay.address.to_string())
    }

    pub fn runs(&self, credentials: Credentials) -> Running {
        Running::start(credentials, self.address())
    }

    /// Lets the server know its members, or not yet. Returns how often it was asked before it did.
    pub fn knows_its_members(&self, knows: bool) -> usize {
        let mut known = self.end.known.lock().unwrap();
        known.is_starting = !knows;
        known.asked_early
    }

    pub fn remove(&self, name: &str) {
        let name: MemberName = name.parse().unwrap();
        self.end.known.lock().unwrap().removed.push(name.clone());
        self.to_members().dismiss(&name);
    }

    /// Returns the credentials that a member got when it joined.
    pub fn kept_credentials(&self, name: &str) -> Credentials {
        Credentials::open(&self.folder().join(format!("{name}.pem"))).unwrap().unwrap()
    }

    /// Returns credentials of this fleet that nobody was invited for.
    pub fn credentials(&self, role: Role, name: &str) -> Credentials {
        self.certified(role, name, SystemTime::now())
    }

    /// Returns credentials of a host that were made so long ago.
    pub fn credentials_of_age(&self, name: &str, age: Duration) -> Credentials {
        self.certified(Role::Host, name, SystemTime::now() - age)
    }

    pub fn fetcher(&self, name: &str) -> Fetcher {
        Fetcher::new(&self.kept_credentials(name), vec![self.address()]).unwrap()
    }

    pub fn fetcher_through(&self, relay: &Relay, name: &str) -> Fetcher {
        Fetcher::new(&self.kept_credentials(name), vec![relay.address.to_string()]).unwrap()
    }

    /// Sends one request over TLS without a certificate, and returns the first line of the answer.
    pub fn ask_as_nobody(&self, request: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let tls = identity::join(&self.invite(Role::Host, "nobody")).unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
        self.block_on(async {
            let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
            let name = "nobody.invalid".try_into().unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            let head = "host: nobody\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let request = format!("{request} HTTP/1.1\r\n{head}");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // A server may close without the last word of TLS.
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
        })
    }

    pub fn relay(&self) -> Relay {
        Relay::start(self.address)
    }

    fn join(&self, role: Role, name: &str) -> Credentials {
        let invite = self.invite(role, name);
        let credentials = self.block_on(link::join(&invite, self.key(name))).unwrap();
        credentials.save(&self.folder().join(format!("{name}.pem"))).unwrap();
        credentials
    }

    fn certified(&self, role: Role, name: &str, at: SystemTime) -> Credentials {
        let key = self.key(name);
        let request = key.request().unwrap();
        let certificate = self.authority.sign(&request, &self.identity(role, name), at).unwrap();
        Credentials::new(key, certificate, vec![self.authority.certificate().clone()]).unwrap()
    }

    fn key(&self, name: &str) -> MemberKey {
        MemberKey::open_or_create(&self.folder().join(format!("{name}.key"))).unwrap()
    }

    fn identity(&self, role: Role, name: &str) -> MemberIdentity {
        MemberIdentity { fleet: self.authority.fleet(), role, name: name.parse().unwrap() }
    }
}

fn authority(folder: &Path) -> Authority {
    Authority::open_or_create(&folder.join("authority.pem"), SystemTime::now()).unwrap()
}

/// A member that runs on a thread of its own until it is dropped.
pub struct Running {
    pub to_server: ToServer,
    received: Receiver<ToMember>,
    disconnected: Receiver<String>,
    renewed: Receiver<SystemTime>,
    ended: Receiver<MemberEnded>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

struct Noted {
    role: Role,
    received: Mutex<Sender<ToMember>>,
    disconnected: Mutex<Sender<String>>,
    renewed: Mutex<Sender<SystemTime>>,
}

impl Running {
    fn start(credentials: Credentials, server: String) -> Self {
        let role = credentials.own().identity.role;
        let member = Member::new(credentials, vec![server], None, TIMES);
        let to_server = member.to_server();
        let (received, receiving) = channel();
        let (disconnected, disconnecting) = channel();
        let (renewed, renewing) = channel();
        let (ended, ending) = channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let noted = Noted {
            role,
            received: Mutex::new(received),
            disconnected: Mutex::new(disconnected),
            renewed: Mutex::new(renewed),
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                tokio::select! {
                    how = member.run(&noted) => drop(ended.send(how)),
                    _ = stopped => {}
                }
            });
        });
        Self {
            to_server,
            received: receiving,
            disconnected: disconnecting,
            renewed: renewing,
            ended: ending,
            _stop: stop,
        }
    }

    /// Returns the next message.
    pub fn received(&self) -> ToMember {
        self.received.recv_timeout(PATIENCE).expect("a message comes in time")
    }

    /// Waits for the next end of a session, or of an attempt to begin one, and returns why.
    pub fn disconnected(&self) -> String {
        self.disconnected.recv_timeout(PATIENCE).expect("the session ends in time")
    }

    /// Returns the end of the renewed certificate.
    pub fn renewed(&self) -> SystemTime {
        self.renewed.recv_timeout(PATIENCE).expect("it is renewed in time")
    }

    pub fn ended(&self) -> MemberEnded {
        self.ended.recv_timeout(PATIENCE).expect("it ends in time")
    }
}

impl MemberEnd for Noted {
    fn hello(&self) -> Hello {
        let offers = match self.role {
            Role::Host => {
                let (abilities, numbers) = (HostAbilities::default(), BTreeMap::new());
                Offers::Host { abilities, numbers, confirm: None }
            }
            Role::Proxy | Role::Server => {
                Offers::Proxy { abilities: Abilities::default(), epoch: 1 }
            }
        };
        Hello { version: VERSION, segue: "test".into(), boot: "boot".into(), obeyed: None, offers }
    }

    fn receive(&self, message: ToMember) {
        let _ = self.received.lock().unwrap().send(message);
    }

    fn connected(&self, _welcome: &Welcome) {}

    fn disconnected(&self, why: &LinkError) {
        let _ = self.disconnected.lock().unwrap().send(why.to_string());
    }

    fn renewed(&self, credentials: &Credentials) {
        let _ = self.renewed.lock().unwrap().send(credentials.own().validity.until);
    }
}
