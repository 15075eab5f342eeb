//! Two of the three parts stop, and the third one goes on.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use server::ApiEngine;

use super::*;

fn brain(
    data: &Path,
    front: &mut Front,
    mail: (Inbox, control::Mail),
) -> (Brain, Arc<ReleaseStore>) {
    let store = open_store(data).unwrap();
    let open_files = agent::OpenFiles::for_apps();
    let config = BrainConfig {
        data: data.to_owned(),
        store: store.clone(),
        keep_releases: 10,
        local: LocalHostTerms { address: Ipv4Addr::LOCALHOST.into(), closed: None },
        open_files,
        board: Arc::default(),
        fleet: None,
    };
    (Brain::start(config, front, mail).unwrap(), store)
}

/// Sends the request and returns the first line of the response.
fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

fn of_front(front: &Front) -> String {
    let stream = TcpStream::connect(front.proxy().local_addrs()[0]).unwrap();
    ask(stream, "GET / HTTP/1.1\r\nhost: nobody\r\nconnection: close\r\n\r\n")
}

#[test]
fn traffic_goes_on_while_the_rest_stops_and_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let folder = DataFolder::open_or_create(&data).unwrap();
    let _lock = folder.lock().unwrap();
    let data = folder.path();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = proxy::Config::new(vec![anywhere]);
    config.workers = 1;
    let (inbox, mail) = Inbox::new();
    let mut front = Front::start(config, data, &inbox).unwrap();
    let before = of_front(&front);
    assert_eq!(before, "HTTP/1.1 503 Service Unavailable", "no app is there");
    let mut mail = Some((inbox, mail));
    for _ in 0..2 {
        // The journal and its lock have been released.
        let (brain, store) = brain(data, &mut front, mail.take().unwrap_or_else(Inbox::new));
        let engine = brain.engine();
        assert_eq!(engine.read_only(), None);
        let config = ApiConfig {
            data: data.to_owned(),
            hosts: vec![],
            token: server::load_or_create_token(data).unwrap(),
            board: Arc::default(),
            fleet: None,
        };
        let socket = data.join("api.sock");
        let api = runtime.block_on(async {
            let listeners = ApiListeners::bind(data, anywhere).await;
            Api::start(listeners, config, front.proxy(), engine.clone(), store)
        });
        let knock = UnixStream::connect(&socket).unwrap();
        let healthy = std::thread::spawn(move || {
            ask(knock, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        });
        runtime.block_on(async {
            while !healthy.is_finished() {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(healthy.join().unwrap(), "HTTP/1.1 200 OK");
        runtime.block_on(api.stop());
        assert!(UnixStream::connect(&socket).is_err(), "nobody answers for a server that stopped");
        brain.stop();
        assert!(engine.read_only().is_some(), "it says that nothing can be changed");
        assert_eq!(of_front(&front), before);
    }
    front.drain();
}
