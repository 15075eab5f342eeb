//! Asks instances on other machines whether this proxy reaches them, again and again, on a thread of its own.
//! The results are part of the reports. They decide nothing here: which instance gets a request does not depend
//! on them.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use model::{Address, InstanceId, ReachTarget, Reached};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::error::Error;
use crate::probe;
use crate::signal::Signal;
use crate::stream::InstanceStream;

/// The time from one attempt to the next at an instance that is not reached.
const AGAIN: Duration = Duration::from_millis(500);
/// The least time from one attempt to the next at an instance that is reached.
const STILL: Duration = Duration::from_secs(2);
/// Attempts in a second at all instances that are reached. With more instances than can be asked at that rate in
/// [`STILL`], each is asked less often.
const PER_SECOND: u32 = 100;
/// The time for one connection.
const CONNECT: Duration = Duration::from_secs(2);
/// Attempts at the same time.
const AT_ONCE: usize = 64;
/// Connections in a row that have to fail before an instance that was reached no longer is.
const FALL: u32 = 2;

/// The instances that the proxy asks, and what it found.
#[derive(Debug)]
pub(crate) struct ReachList {
    known: Mutex<Known>,
    changed: Notify,
    /// Wakes the reporter when something else was found.
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Known {
    targets: BTreeMap<InstanceId, ReachTarget>,
    results: BTreeMap<InstanceId, Reached>,
    runs: bool,
    ends: bool,
}

/// One attempt.
enum Attempt {
    /// A connection was made, and the answer, if there was to be one, is good.
    Good,
    /// A connection was made, but the answer is bad.
    Bad(String),
    /// No connection was made.
    NoConnection(String),
}

impl ReachList {
    pub fn new(signal: Arc<Signal>) -> Self {
        Self { known: Mutex::default(), changed: Notify::new(), signal }
    }

    /// Replaces the instances that are asked. What was found of those that are still listed as before is kept.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn replace(self: &Arc<Self>, targets: &[ReachTarget]) -> Result<(), Error> {
        let mut known = self.known();
        let targets = targets.iter().map(|target| (target.id.clone(), target.clone())).collect();
        let before = std::mem::replace(&mut known.targets, targets);
        let Known { targets, results, .. } = &mut *known;
        results.retain(|id, _| targets.contains_key(id) && targets.get(id) == before.get(id));
        let starts = !known.runs && !known.targets.is_empty();
        known.runs |= starts;
        drop(known);
        self.changed.notify_one();
        if starts { self.start() } else { Ok(()) }
    }

    /// Returns what was found so far.
    pub fn results(&self) -> BTreeMap<InstanceId, Reached> {
        self.known().results.clone()
    }

    /// Returns the instances to ask; `None` after the end.
    fn wanted(&self) -> Option<BTreeMap<InstanceId, ReachTarget>> {
        let known = self.known();
        (!known.ends).then(|| known.targets.clone())
    }

    /// Returns the time from one attempt to the next at an instance that is reached.
    fn pause(&self) -> Duration {
        let many = u32::try_from(self.known().targets.len()).unwrap_or(u32::MAX);
        STILL.max(Duration::from_secs(1) * (many / PER_SECOND))
    }

    /// Asks nothing any more.
    pub fn end(&self) {
        self.known().ends = true;
        self.changed.notify_one();
    }

    fn start(self: &Arc<Self>) -> Result<(), Error> {
        let wrong = |source| Error::System { act: "start the thread that asks instances", source };
        let mut builder = Builder::new_current_thread();
        builder.enable_io().enable_time();
        let list = Arc::clone(self);
        let run = move || match builder.build_local(LocalOptions::default()) {
            Ok(runtime) => runtime.block_on(follow(&list)),
            Err(error) => tracing::error!(%error, "no instance is asked"),
        };
        thread::Builder::new().name("proxy-reach".to_owned()).spawn(run).map(drop).map_err(wrong)
    }

    /// Records what was found, if the instance is still listed like that.
    fn found(&self, target: &ReachTarget, reached: Reached) {
        let mut known = self.known();
        if known.targets.get(&target.id) == Some(target)
            && known.results.get(&target.id) != Some(&reached)
        {
            known.results.insert(target.id.clone(), reached);
            drop(known);
            self.signal.ring();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks every listed instance, until the end.
async fn follow(list: &Arc<ReachList>) {
    let places = Rc::new(Semaphore::new(AT_ONCE));
    let mut asked = BTreeMap::<InstanceId, (ReachTarget, JoinHandle<()>)>::new();
    loop {
        let wanted = list.wanted();
        asked.retain(|id, (target, task)| {
            let stays = wanted.as_ref().is_some_and(|wanted| wanted.get(id) == Some(target));
            if !stays {
                task.abort();
            }
            stays
        });
        let Some(wanted) = wanted else { return };
        for (id, target) in wanted {
            asked.entry(id).or_insert_with(|| {
                let (list, places) = (Arc::clone(list), Rc::clone(&places));
                let asks = ask_again_and_again(list, places, target.clone());
                (target, tokio::task::spawn_local(asks))
            });
        }
        list.changed.notified().await;
    }
}

/// Asks one instance until the task is aborted. Once it was reached, only connections that fail speak against
/// it: how it answers is for its agent's probes to judge, and a busy instance answers late.
async fn ask_again_and_again(list: Arc<ReachList>, places: Rc<Semaphore>, target: ReachTarget) {
    let mut is_reached = false;
    let mut failed = 0;
    // The semaphore is never closed.
    while let Ok(place) = places.acquire().await {
        let attempt = attempt(&target).await;
        drop(place);
        failed = if matches!(attempt, Attempt::NoConnection(_)) { failed + 1 } else { 0 };
        is_reached = match &attempt {
            Attempt::Good => true,
            Attempt::Bad(_) => is_reached,
            Attempt::NoConnection(_) => is_reached && failed < FALL,
        };
        let reached = match attempt {
            Attempt::Good => Reached::Yes,
            Attempt::Bad(_) | Attempt::NoConnection(_) if is_reached => Reached::Yes,
            Attempt::Bad(why) | Attempt::NoConnection(why) => Reached::No(why),
        };
        list.found(&target, reached);
        sleep(if is_reached && failed == 0 { list.pause() } else { AGAIN }).await;
    }
}

async fn attempt(target: &ReachTarget) -> Attempt {
    let stream = match timeout(CONNECT, connect(target)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Attempt::NoConnection(why(&error)),
        Err(_) => {
            return Attempt::NoConnection(format!("no connection within {} s", CONNECT.as_secs()));
        }
    };
    let Some(request) = &target.request else { return Attempt::Good };
    match timeout(target.timeout.to_duration(), probe::ask(stream, request)).await {
        Ok(Ok(200..=299)) => Attempt::Good,
        Ok(Ok(status)) => Attempt::Bad(format!("it answered {status}")),
        Ok(Err(error)) => Attempt::Bad(why(&error)),
        Err(_) => Attempt::Bad(format!("no answer within {}", target.timeout)),
    }
}

async fn connect(target: &ReachTarget) -> io::Result<InstanceStream> {
    let stream = InstanceStream::connect(&Address::Tcp(target.address))?;
    std::future::poll_fn(|cx| stream.poll_connected(cx)).await?;
    Ok(stream)
}

/// Returns what an error says, without the system's number of it.
fn why(error: &io::Error) -> String {
    let plain = [
        (io::ErrorKind::ConnectionRefused, "connection refused"),
        (io::ErrorKind::ConnectionReset, "the connection was reset"),
        (io::ErrorKind::HostUnreachable, "there is no route to that machine"),
        (io::ErrorKind::NetworkUnreachable, "there is no route to that network"),
    ];
    let known = plain.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.to_string(), |(_, said)| (*said).to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicU16, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use model::{Millis, Snapshot, TrafficReport};

    use super::*;
    use crate::{Config, Proxy};

    /// Longer than anything here takes, whatever else the machine does.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A proxy that asks one instance, and its reports.
    fn proxy_that_asks(target: &ReachTarget) -> (Proxy, Receiver<TrafficReport>) {
        let mut config = Config::new(vec!["127.0.0.1:0".parse().expect("an address")]);
        config.workers = 1;
        let (report, reports) = channel();
        let bound = Proxy::bind(config).expect("a free port");
        let on_report = move |told| drop(report.send(told));
        let proxy = bound.start(&Snapshot::default(), on_report).expect("started");
        proxy.ask_instances(std::slice::from_ref(target)).expect("a thread");
        (proxy, reports)
    }

    fn target(listener: &TcpListener, request: Option<&str>) -> ReachTarget {
        ReachTarget {
            id: "web-7".parse().expect("an id"),
            address: listener.local_addr().expect("an address"),
            request: request.map(str::to_owned),
            timeout: Millis(500),
        }
    }

    /// Waits for a report that says this of the instance.
    fn until(reports: &Receiver<TrafficReport>, wanted: &Reached) {
        let said = || reports.recv_timeout(PATIENCE).expect("the reports go on");
        while said().reached.values().next() != Some(wanted) {}
    }

    /// Answers each request with the status, or with nothing if that is 0, and says what was asked.
    fn answer(listener: &TcpListener, status: &AtomicU16, asked: &Sender<String>) {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 1024];
            let len = stream.read(&mut request).expect("a request");
            let status = status.load(Ordering::Relaxed);
            if status == 1 {
                return;
            }
            let said = asked.send(String::from_utf8_lossy(&request[..len]).into_owned());
            if status == 0 || said.is_err() {
                silent.push(stream);
            } else {
                let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            }
        }
    }

    #[test]
    fn an_instance_is_reached_by_a_good_answer_and_then_until_no_connection_is_made() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let target = target(&listener, Some("GET /up HTTP/1.1\r\nHost: web\r\n\r\n"));
        let status = Arc::new(AtomicU16::new(503));
        let (asked, questions) = channel();
        let of_thread = Arc::clone(&status);
        let server = thread::spawn(move || answer(&listener, &of_thread, &asked));
        let (proxy, reports) = proxy_that_asks(&target);
        until(&reports, &Reached::No("it answered 503".into()));
        assert!(questions.recv_timeout(PATIENCE).expect("asked").starts_with("GET /up"));
        status.store(200, Ordering::Relaxed);
        until(&reports, &Reached::Yes);
        // A busy instance accepts connections and answers late.
        status.store(0, Ordering::Relaxed);
        while questions.try_recv().is_ok() {}
        for _ in 0..2 {
            questions.recv_timeout(PATIENCE).expect("it is asked all the same");
        }
        assert_eq!(proxy.observe().reached.values().next(), Some(&Reached::Yes));
        // It ends, and its port is closed.
        status.store(1, Ordering::Relaxed);
        server.join().expect("no panic");
        until(&reports, &Reached::No("connection refused".into()));
        proxy.ask_instances(&[]).expect("the thread is there");
        assert!(proxy.observe().reached.is_empty(), "it is asked no more");
        proxy.drain(Duration::ZERO);
        proxy.join();
    }

    #[test]
    fn a_connection_is_enough_for_an_instance_without_a_request() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (proxy, reports) = proxy_that_asks(&target(&listener, None));
        until(&reports, &Reached::Yes);
        proxy.drain(Duration::ZERO);
        proxy.join();
    }
}
