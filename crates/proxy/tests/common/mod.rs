//! A small world for the stories: upstreams that do as they are told, clients on real sockets, and
//! snapshots. Waits only for conditions, never for time to pass.
#![allow(dead_code, reason = "each story uses its part")]
#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

pub mod origins;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use model::{
    Address, AppLimits, AppSection, Arm, Generation, InstanceId, Millis, ReleaseNo, Route, Share,
    Snapshot, Target, TrafficReport,
};
use proxy::{Config, HandClock, Limits, Proxy};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` gives something.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

pub fn app_name() -> model::AppName {
    "web".parse().unwrap()
}

pub fn instance(number: u64) -> InstanceId {
    InstanceId { app: app_name(), number }
}

/// Release, ten-thousandths, instances.
pub type ArmOf<'a> = (u32, u16, &'a [(u64, SocketAddr)]);

/// A snapshot of one app with one arm per release.
pub fn snapshot(counter: u64, arms: &[ArmOf<'_>]) -> Snapshot {
    let arms = arms.iter().map(|(release, share, instances)| Arm {
        release: ReleaseNo(*release),
        label: format!("v{release}").parse().unwrap(),
        share: Share::from_ten_thousandths(*share).unwrap(),
        instances: instances
            .iter()
            .map(|(number, at)| Target::new(instance(*number), Address::Tcp(*at)))
            .collect(),
    });
    let route = Route::everything(Millis(5_000));
    let section = AppSection {
        app: app_name(),
        route,
        drain_deadline: Millis(10_000),
        split: None,
        maintenance: None,
        arms: arms.collect(),
    };
    Snapshot { generation: Generation { term: 1, counter }, apps: vec![section] }
}

/// One live release with one instance.
pub fn one(counter: u64, number: u64, at: SocketAddr) -> Snapshot {
    snapshot(counter, &[(1, 10_000, &[(number, at)])])
}

/// A snapshot with these limits of the app's.
pub fn limited(mut snapshot: Snapshot, limits: AppLimits) -> Snapshot {
    snapshot.apps[0].route.limits = limits;
    snapshot
}

/// Two workers on a free port.
pub fn config() -> Config {
    let mut config = Config::new(vec!["127.0.0.1:0".parse().unwrap()]);
    config.workers = 2;
    config
}

/// A running proxy and what it reported.
pub struct World {
    pub proxy: Proxy,
    pub reports: Receiver<TrafficReport>,
    pub at: SocketAddr,
    /// Moves its time, if that stands still.
    hand: Option<HandClock>,
}

impl World {
    pub fn new(initial: &Snapshot) -> Self {
        Self::with(initial, Limits::default())
    }

    pub fn with(initial: &Snapshot, limits: Limits) -> Self {
        let mut config = config();
        config.limits = limits;
        Self::of(initial, config)
    }

    pub fn of(initial: &Snapshot, config: Config) -> Self {
        let bound = Proxy::bind(config).expect("a free port");
        let at = bound.local_addrs()[0];
        let (sender, reports) = channel();
        let proxy = bound
            .start(initial, move |report| {
                let _ = sender.send(report);
            })
            .expect("a proxy");
        Self { proxy, reports, at, hand: None }
    }

    /// One whose time stands still until it is advanced. With all defaults, and one worker: who comes
    /// first and who meets whose connection is certain.
    pub fn still(initial: &Snapshot) -> Self {
        Self::still_of(initial, Config { workers: 1, ..config() })
    }

    pub fn still_of(initial: &Snapshot, config: Config) -> Self {
        let hand = HandClock::default();
        let mut world = Self::of(initial, Config { clock: hand.clock(), ..config });
        world.hand = Some(hand);
        world
    }

    fn hand(&self) -> &HandClock {
        self.hand.as_ref().expect("its time stands still")
    }

    /// Lets so much time pass for it, after all that has been sent to it is taken in.
    pub fn advance(&self, by: Millis) {
        self.hand().advance(by);
    }

    /// Returns once all that has been sent to it is taken in.
    pub fn settle(&self) {
        self.hand().settle();
    }

    /// Lets the time of a limit pass that began just now: its client gets to know nothing before the
    /// last millisecond, and something with it.
    pub fn reaches(&self, limit: Millis, client: &Client) {
        self.advance(Millis(limit.0 - 1));
        assert!(client.hears_nothing(), "before its time");
        self.advance(Millis(1));
        assert!(!client.hears_nothing(), "nothing happened at its time");
    }

    /// Publishes and waits for the report that every worker has acknowledged.
    pub fn publish(&self, snapshot: &Snapshot) -> TrafficReport {
        self.proxy.publish(snapshot).expect("newer");
        self.report(|report| report.acknowledged >= snapshot.generation)
    }

    /// Waits for a report, as control does.
    pub fn report(&self, wanted: impl Fn(&TrafficReport) -> bool) -> TrafficReport {
        let start = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let report = self.reports.recv_timeout(left).expect("the report in time");
            if wanted(&report) {
                return report;
            }
        }
    }

    /// The counters, with the longest gap of the last minute.
    pub fn counters(&self) -> model::AppCounters {
        let mut report = self.proxy.report();
        let gaps = report.gaps.remove(&app_name()).unwrap_or_default();
        let max_gap_ms = gaps.iter().map(|gap| gap.ms).max();
        let counted = report.counters.expect("it counts").remove(&app_name()).unwrap_or_default();
        model::AppCounters { max_gap_ms, ..counted }
    }

    /// The counters once so many requests are counted, which is just after their last byte.
    pub fn counted(&self, requests: u64) -> model::AppCounters {
        eventually("the requests are counted", || {
            Some(self.counters()).filter(|counters| counters.requests >= requests)
        })
    }

    pub fn client(&self) -> Client {
        Client::connect(self.at)
    }

    /// A client that comes from this address of the machine.
    pub fn client_from(&self, from: &str) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        let from: SocketAddr = format!("{from}:0").parse().expect("an address");
        socket.bind(&from.into()).expect("bound");
        socket.connect(&self.at.into()).expect("connected");
        Client::of(socket.into())
    }

    /// A number out of its metrics.
    pub fn sample(&self, name: &str) -> u64 {
        let metrics = self.proxy.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).expect("a value")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.proxy.drain(Duration::ZERO);
        self.proxy.join();
    }
}

/// One request as an upstream saw it.
#[derive(Debug, Default)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
}

/// Reads a head; `None` at the end of the connection.
pub fn read_head(from: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head.len() - before == 2 {
            return Some(head);
        }
    }
}

/// The value of a field, by lower-case name.
pub fn field(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (this, value) = line.split_once(':')?;
        this.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// Reads a body by its framing. Also the trailers, for those who want them.
pub fn read_body(head: &str, from: &mut impl BufRead) -> std::io::Result<(Vec<u8>, String)> {
    let mut body = Vec::new();
    if field(head, "transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16)
                .map_err(|_| std::io::Error::other(format!("chunk line {line:?}")))?;
            if size == 0 {
                let mut trailers = String::new();
                while from.read_line(&mut trailers)? > 2 {}
                return Ok((body, trailers));
            }
            let mut chunk = vec![0; size + 2];
            from.read_exact(&mut chunk)?;
            body.extend_from_slice(&chunk[..size]);
        }
    }
    if let Some(length) = field(head, "content-length") {
        body.resize(length.parse().unwrap(), 0);
        from.read_exact(&mut body)?;
    }
    Ok((body, String::new()))
}

/// Runs `serve` on a thread for each connection.
pub fn upstream(serve: impl Fn(usize, BufReader<TcpStream>) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = listener.local_addr().expect("an address");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let serve = Arc::clone(&serve);
            let _ = stream.set_nodelay(true);
            std::thread::spawn(move || serve(number, BufReader::new(stream)));
        }
    });
    at
}

/// An upstream that answers every request with the same text, kept alive.
pub fn saying(text: &'static str) -> SocketAddr {
    answering(move |_| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()))
}

/// An upstream that answers every request with what `answer` makes of it.
pub fn answering(answer: impl Fn(&Seen) -> String + Send + Sync + 'static) -> SocketAddr {
    upstream(move |_, mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let Ok((body, _)) = read_body(&head, &mut stream) else { return };
            let answer = answer(&Seen { head, body });
            if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// An instance that the story itself plays.
pub struct Played {
    listener: TcpListener,
    pub at: SocketAddr,
}

impl Played {
    pub fn new() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"))
    }

    /// One that listens at this address.
    pub fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        let at = listener.local_addr().expect("an address");
        Self { listener, at }
    }

    /// The proxy's next connection.
    pub fn accept(&self) -> Client {
        let stream = eventually("the proxy connects", || self.listener.accept().ok()).0;
        stream.set_nonblocking(false).expect("blocking");
        Client::of(stream)
    }

    /// Whether the proxy has made no further connection.
    pub fn is_left_alone(&self) -> bool {
        self.listener.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// The proxy's next connection, with the head of a request.
    pub fn asked(&self) -> Client {
        let mut stream = self.accept();
        stream.head();
        stream
    }
}

/// An instance that listens and has no room for another connection.
pub struct Full {
    listener: TcpListener,
    _first: TcpStream,
    pub at: SocketAddr,
}

impl Full {
    pub fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        socket.bind(&any.into()).expect("bound");
        socket.listen(0).expect("listening");
        let listener = TcpListener::from(socket);
        let at = listener.local_addr().expect("an address");
        let first = TcpStream::connect(at).expect("its queue has one place");
        Self { listener, _first: first, at }
    }

    /// Accepts the first in its queue and then the proxy's connection, for which there is room now.
    pub fn accept(&self) -> Client {
        let _queued = self.listener.accept().expect("the first in its queue");
        Client::of(self.listener.accept().expect("the proxy's").0)
    }
}

/// An answer as a client saw it.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    pub trailers: String,
}

impl Got {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }
}

/// A client on one connection, or an instance.
pub struct Client {
    pub stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(at: SocketAddr) -> Self {
        Self::of(TcpStream::connect(at).expect("a connection"))
    }

    pub fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("sent");
    }

    /// The head of a request, as an instance gets it.
    pub fn head(&mut self) -> String {
        read_head(&mut self.stream).expect("a head")
    }

    pub fn receive(&mut self) -> Got {
        self.try_receive(true).expect("an answer")
    }

    pub fn try_receive(&mut self, with_body: bool) -> std::io::Result<Got> {
        let ended = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let head = read_head(&mut self.stream).ok_or_else(ended)?;
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(ended)?;
        let none = !with_body || status < 200 || status == 204 || status == 304;
        let (body, trailers) =
            if none { Default::default() } else { read_body(&head, &mut self.stream)? };
        Ok(Got { status, head, body, trailers })
    }

    pub fn get(&mut self, path: &str) -> Got {
        self.try_get(path).expect("an answer")
    }

    pub fn try_get(&mut self, path: &str) -> std::io::Result<Got> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.try_receive(true)
    }

    pub fn post(&mut self, body: &str) -> Got {
        self.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        self.receive()
    }

    /// GET with more field lines, each with its end.
    pub fn get_with(&mut self, path: &str, fields: &str) -> Got {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        self.receive()
    }

    /// Whether nothing has come for it: no byte, no end, no reset.
    pub fn hears_nothing(&self) -> bool {
        let socket = self.stream.get_ref();
        socket.set_nonblocking(true).expect("non-blocking");
        let peeked = socket.peek(&mut [0]);
        socket.set_nonblocking(false).expect("blocking");
        let nothing = peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        nothing && self.stream.buffer().is_empty()
    }

    /// Whether the proxy closes the connection, in good order.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }

    /// Closes with a reset, as a browser does whose tab is closed.
    pub fn reset(self) {
        let stream = self.stream.into_inner();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
    }
}

/// The in-flight counts, by number.
pub fn in_flight(report: &TrafficReport) -> BTreeMap<u64, u32> {
    report.in_flight.counts().map(|(id, count)| (id.number, count)).collect()
}
