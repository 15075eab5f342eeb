//! What happens to the words of members: control gets reports and hears who comes and goes; invites are
//! redeemed by control, which journals them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use control::{FleetAsk, Inbox};
use identity::{Fingerprint, MemberIdentity, PeerCertificate};
use link::{
    ContentRefusal, ContentRequest, ControlRun, DoorEnd, FromMember, Hello, MemberStanding, Offers,
    ServedContent, ToMember, ToMembers, VERSION, Welcome,
};
use model::{
    AppName, Digest, FleetView, FromHost, HostAbilities, HostHello, HostId, Link, MemberName,
    ProxyDuty, ProxyHello, ProxyLink, ReachTarget, Role, SocketFolders, TrafficReport,
};
use server::AppViews;
use store::ReleaseStore;
use tokio::sync::oneshot;
use wire::{LogPage, LogRequest, Secret};

use super::content;
use super::for_proxies::ForProxies;
use super::logs::LogQuestions;
use super::presence::Presences;
use crate::clock::wall_clock;
use crate::local_host::LocalHostTerms;

/// A future of the door.
type Pending<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What members say of the controls that they have obeyed.
#[derive(Default)]
struct Obeyed {
    highest: u64,
    /// When each member was believed last.
    believed: BTreeMap<MemberName, Instant>,
}

impl Obeyed {
    /// A term that is so far ahead of ours is a lie.
    const FAR: u64 = 1 << 32;
    /// A member that says so again and again would keep control from anything else.
    const PAUSE: Duration = Duration::from_secs(60);

    /// Returns whether a member is believed that it has obeyed a term so far ahead of ours.
    fn believes(&mut self, member: &MemberName, ahead: u64) -> bool {
        let again = self.believed.get(member).is_some_and(|at| at.elapsed() < Self::PAUSE);
        let believed = ahead < Self::FAR && !again;
        if believed {
            self.believed.insert(member.clone(), Instant::now());
        }
        believed
    }
}

/// The door's other side.
pub struct Desk {
    pub(super) authority: Fingerprint,
    pub(super) advertise: Vec<String>,
    /// The terms of the server's own host.
    pub(super) local: LocalHostTerms,
    pub(super) inbox: Inbox,
    pub(super) board: Arc<AppViews>,
    store: Arc<ReleaseStore>,
    to_members: OnceLock<ToMembers>,
    presences: Mutex<Presences>,
    logs: LogQuestions,
    obeyed: Mutex<Obeyed>,
    pub(super) for_proxies: ForProxies,
    /// The control that commands now.
    by: Mutex<ControlRun>,
}

impl Desk {
    pub fn new(
        (authority, advertise, local): (Fingerprint, Vec<String>, LocalHostTerms),
        (inbox, board, store): (Inbox, Arc<AppViews>, Arc<ReleaseStore>),
        for_proxies: ForProxies,
    ) -> Self {
        let by = Mutex::new(ControlRun { term: 0, run: 0 });
        let (to_members, presences) = (OnceLock::new(), Mutex::default());
        let (logs, obeyed) = (LogQuestions::default(), Mutex::default());
        Self {
            authority,
            advertise,
            local,
            inbox,
            board,
            store,
            to_members,
            presences,
            logs,
            obeyed,
            for_proxies,
            by,
        }
    }

    /// Takes the way to the members once the door is open.
    pub fn opened(&self, to_members: ToMembers) {
        // The door is opened once.
        let _ = self.to_members.set(to_members);
    }

    /// Returns the way to the members.
    pub fn to_members(&self) -> Option<&ToMembers> {
        self.to_members.get()
    }

    /// Begins the run of a control with this term, and tells it of every member that is heard.
    pub fn begins(&self, term: u64) -> ControlRun {
        let mut random = [0; 8];
        // Without random numbers two controls of one term could not be told apart; terms only grow.
        let _ = getrandom::fill(&mut random);
        let by = ControlRun { term, run: u64::from_ne_bytes(random) };
        *self.by.lock().unwrap_or_else(PoisonError::into_inner) = by;
        let here: Vec<_> = self.presences().here().cloned().collect();
        for presence in here {
            self.up(&presence.certificate.identity.name, presence.from, &presence.hello);
        }
        by
    }

    /// Lets the proxies that are connected, and those that connect later, ask these instances.
    pub fn ask_instances(&self, targets: Vec<ReachTarget>) {
        self.tell_proxies(&self.for_proxies.ask_instances(self.by(), targets));
    }

    /// Returns whether every proxy that is not lost uses the keys with this fingerprint.
    pub fn all_use(&self, keys: Digest) -> bool {
        let fleet = self.board.fleet();
        let proxies = fleet.members.iter().filter(|member| member.role == Role::Proxy);
        let names = proxies.map(|member| &member.name);
        self.presences().all_use(names, keys, wall_clock())
    }

    /// Gives the proxies that are connected, and those that connect later, these keys of users' cookies.
    pub fn use_keys(&self, keys: Secret) {
        self.tell_proxies(&self.for_proxies.use_keys(self.by(), keys));
    }

    /// Tells a proxy what it is used for.
    pub(super) fn tell_duty(&self, proxy: &MemberName, duty: ProxyDuty) {
        let message = ToMember::Duty { by: self.by(), duty };
        self.to_members().into_iter().for_each(|it| it.send(proxy, message.clone()));
    }

    /// Returns the message that tells proxies where hosts confirm their instances.
    pub(super) fn hosts(&self) -> ToMember {
        let fleet = self.board.known_fleet();
        let is_known = fleet.is_some();
        let fleet = fleet.unwrap_or_default();
        let address = |name: &MemberName, from: IpAddr| {
            let known = fleet.members.iter().find(|known| known.name == *name);
            known.and_then(|known| known.address).unwrap_or(from)
        };
        let presences = self.presences();
        let confirm = presences.confirmers(address);
        let mut hosts = fleet.members.iter().filter(|member| member.role == Role::Host);
        let complete = is_known && hosts.all(|host| presences.of(&host.name).is_some());
        drop(presences);
        ToMember::Hosts { by: self.by(), confirm, complete }
    }

    pub(super) fn tell_proxies(&self, message: &ToMember) {
        let Some(to_members) = self.to_members() else { return };
        for presence in self.presences().here() {
            if presence.certificate.identity.role == Role::Proxy {
                to_members.send(&presence.certificate.identity.name, message.clone());
            }
        }
    }

    /// Returns the control that commands now.
    fn by(&self) -> ControlRun {
        *self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn presences(&self) -> MutexGuard<'_, Presences> {
        self.presences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the highest term that a member has obeyed.
    pub fn highest_term(&self) -> u64 {
        self.obeyed().highest
    }

    /// Looks at the control that a member has obeyed. If this server was restored from a backup, that may be a
    /// later one than its own: control then begins anew above it.
    fn heed(&self, member: &MemberName, hello: &Hello) {
        let by = self.by();
        let other =
            hello.obeyed.filter(|it| it.term > by.term || (it.term == by.term && *it != by));
        let Some(other) = other.filter(|_| by.term > 0) else { return };
        if !self.obeyed().believes(member, other.term - by.term) {
            tracing::warn!(%member, %other, "a member says that it obeys another control; it is not believed");
            return;
        }
        tracing::warn!(%member, %other, "a member obeys another control: this one begins above it");
        let mut obeyed = self.obeyed();
        obeyed.highest = obeyed.highest.max(other.term);
        drop(obeyed);
        self.inbox.superseded(other.term);
    }

    fn obeyed(&self) -> MutexGuard<'_, Obeyed> {
        self.obeyed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads output of instances on a host. Blocks until the host has answered.
    ///
    /// # Errors
    /// If the host is not here, does not answer in time, or cannot read it.
    pub fn read_logs(&self, host: &HostId, request: &LogRequest) -> io::Result<LogPage> {
        let member = host.as_str().parse::<MemberName>().map_err(io::Error::other)?;
        let is_here = self.presences().of(&member).is_some_and(|it| it.silent.is_none());
        let to_members = self.to_members().filter(|_| is_here);
        let to_members = to_members.ok_or(io::ErrorKind::HostUnreachable)?;
        let question = self.logs.ask();
        let (number, request) = (question.number, request.clone());
        to_members.send(&member, ToMember::ReadLogs { question: number, request });
        question.wait()
    }

    /// Tells control that a member is there. A proxy first gets what it has from the server besides the tables.
    fn up(&self, member: &MemberName, from: std::net::IpAddr, hello: &Hello) {
        let by = self.by();
        if by.term == 0 {
            // No control has begun. The first one is told of all members that are here.
            return;
        }
        match &hello.offers {
            Offers::Host { abilities, numbers, confirm: _ } => {
                self.tell_proxies(&self.hosts());
                let (abilities, numbers) = (abilities.clone(), numbers.clone());
                let hello = self.host_hello(member, from, (abilities, numbers, &hello.boot));
                self.inbox.link(member.as_host(), Link::Up(hello));
            }
            Offers::Proxy { abilities, epoch } => {
                for message in self.for_proxies.greeting(by) {
                    self.to_members().into_iter().for_each(|it| it.send(member, message.clone()));
                }
                let fleet = self.board.fleet();
                let known = fleet.members.iter().find(|known| known.name == *member);
                let hosts = self.hosts();
                self.to_members().into_iter().for_each(|it| it.send(member, hosts.clone()));
                self.tell_duty(member, known.map(|known| known.proxy_duty).unwrap_or_default());
                let hello = ProxyHello { abilities: *abilities, epoch: *epoch };
                self.inbox.proxy_link(member.as_proxy(), ProxyLink::Up(hello));
            }
        }
    }

    fn host_hello(
        &self,
        member: &MemberName,
        from: std::net::IpAddr,
        (abilities, numbers, boot): (HostAbilities, BTreeMap<AppName, u64>, &str),
    ) -> HostHello {
        let fleet = self.board.fleet();
        let known = fleet.members.iter().find(|known| known.name == *member);
        let address = known.and_then(|known| known.address).unwrap_or(from);
        // A socket in a folder of another machine is out of reach of this one's proxy.
        let elsewhere = "proxies on other machines cannot reach a unix socket".to_owned();
        let sockets = SocketFolders::new(String::new(), String::new(), Some(elsewhere));
        HostHello {
            address,
            abilities: HostAbilities { sockets, ..abilities },
            numbers,
            boot: boot.to_owned(),
        }
    }

    /// Asks control for a change of the fleet, and waits until it is journaled.
    pub(super) async fn ask(&self, ask: FleetAsk) -> Result<control::Answer, control::Refusal> {
        let (reply, answer) = oneshot::channel();
        self.inbox.fleet(ask, move |answered| {
            // Whoever asked may be gone. The change stands.
            let _ = reply.send(answered);
        });
        answer.await.unwrap_or_else(|_| {
            Err(control::Refusal {
                code: control::RefusalCode::Unavailable,
                message: "cannot change the fleet: the server is ending".into(),
                hint: None,
            })
        })
    }
}

impl DoorEnd for Desk {
    fn welcome(&self) -> Welcome {
        Welcome {
            version: VERSION,
            segue: env!("CARGO_PKG_VERSION").into(),
            by: self.by(),
            servers: self.advertise.clone(),
        }
    }

    fn redeem(
        &self,
        secret: Fingerprint,
        key: Fingerprint,
    ) -> Pending<'_, Result<(Role, MemberName), String>> {
        Box::pin(async move {
            let key = key.digest();
            let joined = self.ask(FleetAsk::Join { secret: secret.digest(), key }).await;
            joined.map_err(|refusal| refusal.message)?;
            let fleet = self.board.fleet();
            let member = fleet.by_key(key).ok_or("the member is not known")?;
            Ok((member.role, member.name.clone()))
        })
    }

    fn standing(&self, peer: &PeerCertificate) -> MemberStanding {
        let fleet = self.board.known_fleet();
        fleet.map_or(MemberStanding::NotKnownYet, |fleet| standing(&fleet, peer))
    }

    fn connected(&self, member: &PeerCertificate, from: SocketAddr, hello: &Hello) {
        let name = &member.identity.name;
        self.heed(name, hello);
        let from = from.ip().to_canonical();
        tracing::info!(%name, %from, segue = hello.segue, "a member is here");
        self.presences().heard(from, member, hello, wall_clock());
        self.up(name, from, hello);
    }

    fn silent(&self, member: &MemberIdentity, why: &str) {
        self.presences().silent(&member.name, why, wall_clock());
        match member.role {
            Role::Host => self.inbox.link(member.name.as_host(), Link::Silent),
            Role::Proxy => {
                self.inbox.proxy_link(member.name.as_proxy(), ProxyLink::Silent);
            }
            Role::Server => {}
        }
    }

    fn receive(&self, member: &MemberIdentity, message: FromMember) {
        match message {
            FromMember::Report { report } => {
                self.inbox.host(FromHost { host: member.name.as_host(), report });
            }
            FromMember::Logs { question, answer } => self.logs.answer(question, answer),
            FromMember::Reached { anew, news } => {
                self.for_proxies.learn(member.name.as_proxy(), anew, news);
            }
            FromMember::Traffic { report } => {
                // The certificate says whose report it is, not the report.
                let proxy = member.name.as_proxy();
                let reached = self.for_proxies.reached(&proxy);
                self.inbox.traffic(TrafficReport { proxy, reached, ..*report });
            }
            FromMember::CookieKeys { keys } => {
                tracing::debug!(name = %member.name, %keys, "a proxy has taken over keys");
                self.presences().uses_keys(&member.name, keys);
            }
            FromMember::Drain { progress } => self.presences().drain(&member.name, progress),
            FromMember::Hello(_) | FromMember::Heartbeat | FromMember::Unknown => {}
        }
    }

    fn content<'a>(
        &'a self,
        host: &'a MemberName,
        wanted: ContentRequest,
    ) -> Pending<'a, Result<ServedContent, ContentRefusal>> {
        Box::pin(content::for_host(&self.board, &self.store, host, wanted))
    }
}

/// Returns the standing of whoever shows this certificate.
fn standing(fleet: &FleetView, peer: &PeerCertificate) -> MemberStanding {
    let key = peer.key.digest();
    if fleet.removed.contains(&key) {
        return MemberStanding::Removed;
    }
    let is_it = fleet.by_key(key).is_some_and(|member| {
        member.name == peer.identity.name && member.role == peer.identity.role
    });
    if is_it { MemberStanding::Member } else { MemberStanding::Unknown }
}
