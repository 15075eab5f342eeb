//! The client and the server, over a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use control::Ask;
use model::{Digest, ReleaseNo};
use server::{bind, bind_in_folder, serve_port, serve_socket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use wire::{
    ApiClient, AppFile, Blob, ClientError, DeployRequest, FileEntry, Follow, Kind, Line, Manifest,
    RollbackRequest, Secret, Trusted,
};

use crate::world::{TOKEN, World, world};

async fn start(world: &World) -> (ApiClient, JoinHandle<()>) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = tokio::spawn(serve_port(listener, world.router(), world.stop.subscribe()));
    let client =
        ApiClient::new(&format!("http://{address}"), Some(Secret::new(TOKEN)), Trusted::default());
    (client.unwrap(), server)
}

/// The client blocks, so it gets a thread that may.
async fn with<T: Send + 'static>(
    client: &ApiClient,
    work: impl FnOnce(ApiClient) -> T + Send + 'static,
) -> T {
    let client = client.clone();
    tokio::task::spawn_blocking(move || work(client)).await.unwrap()
}

#[tokio::test]
async fn a_release_is_uploaded_deployed_and_followed_to_its_end() {
    let world = world();
    let (client, _server) = start(&world).await;
    let outcome = with(&client, |client| {
        let app = "web".parse().unwrap();
        let digest = Digest::from_bytes(*blake3::hash(b"abc").as_bytes());
        let blob = Blob { digest, size: 3 };
        assert_eq!(client.missing(vec![blob]).unwrap(), [digest]);
        client.put_blob(blob, &b"abc"[..]).unwrap();
        assert_eq!(client.missing(vec![blob]).unwrap(), []);
        let file = AppFile::from_toml("app = \"web\"\n[run]\ncommand = [\"./x\"]").unwrap();
        let kind = Kind::File { digest, size: 3, executable: true };
        let request = DeployRequest {
            spec: file.settings().clone(),
            label: Some("v2".parse().unwrap()),
            manifest: Some(Manifest {
                entries: vec![FileEntry { path: "x".into(), kind, modified: None }],
            }),
            env: [("A".to_owned(), Secret::new("hunter2"))].into(),
            replace: true,
            version: Some(7),
        };
        let accepted = client.deploy(&app, &request).unwrap();
        assert_eq!((accepted.rollout, accepted.already), (Some(3), false));
        client.events(&app, 0, accepted.rollout).unwrap().find_map(|line| match line.unwrap() {
            Line::Event(event) => event.outcome,
            Line::Now(_) | Line::Lost(_) => None,
        })
    })
    .await;
    assert_eq!(outcome, Some(model::Outcome::Completed));
    let commands = world.engine.commands.lock().unwrap();
    let Ask::Deploy { release: deploy, replace } = &commands[0].ask else { panic!("{commands:?}") };
    assert!(replace);
    assert_eq!(deploy.content, Some(Digest::from_bytes([1; 32])));
    assert_eq!(deploy.spec.run.env["A"], Digest::from_bytes([1; 32]));
    assert_eq!(commands[0].seen, Some(7));
}

#[tokio::test]
async fn an_upload_that_is_not_what_its_digest_names_is_refused() {
    let world = world();
    let (client, _server) = start(&world).await;
    let blob = Blob { digest: Digest::from_bytes([1; 32]), size: 3 };
    let sent = with(&client, move |client| client.put_blob(blob, &b"abc"[..])).await;
    assert!(matches!(sent, Err(ClientError::Changed)), "{sent:?}");
    // A client that does not look itself.
    let request = format!(
        "PUT /v1/blobs/{} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: 3\r\nconnection: close\r\n\r\nabc",
        blob.digest
    );
    let (said, _) = says_to(&request).await;
    assert_eq!(said, "HTTP/1.1 400 Bad Request");
    assert!(world.shelf.blobs.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let world = world();
    let (client, server) = start(&world).await;
    let left = with(&client, |client| {
        let address = client.name().strip_prefix("http://").unwrap().to_owned();
        let mut socket = std::net::TcpStream::connect(&address).unwrap();
        let digest = Digest::from_bytes([b'a'; 32]);
        let head = format!(
            "PUT /v1/blobs/{digest} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer \
             {TOKEN}\r\ncontent-length: 10\r\n\r\nabc"
        );
        std::io::Write::write_all(&mut socket, head.as_bytes()).unwrap();
        drop(socket);
        client.missing(vec![Blob { digest, size: 10 }]).unwrap()
    })
    .await;
    assert_eq!(left.len(), 1);
    world.stop.send_replace(true);
    server.await.unwrap();
    assert!(world.shelf.blobs.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_rollback_goes_by_label_or_number() {
    let world = world();
    let (client, _server) = start(&world).await;
    with(&client, |client| {
        for to in ["v1", "1", "#1"] {
            let request = RollbackRequest { to: Some(to.into()), version: None };
            client.rollback(&"web".parse().unwrap(), &request).unwrap();
        }
    })
    .await;
    for command in world.engine.commands.lock().unwrap().iter() {
        assert_eq!(command.ask, Ask::Rollback { to: Some(ReleaseNo(1)) });
    }
}

#[tokio::test]
async fn output_is_followed_and_the_servers_end_ends_it() {
    let world = world();
    let (client, server) = start(&world).await;
    let stop = world.stop.clone();
    let lines = with(&client, move |client| {
        let stream = client.logs(&"web".parse().unwrap(), None, 10, Follow::Yes).unwrap();
        let mut seen = Vec::new();
        for line in stream {
            seen.push(line.unwrap().text);
            if seen.len() == 3 {
                stop.send_replace(true);
            }
        }
        seen
    })
    .await;
    assert_eq!(lines, ["one", "two", "three"]);
    server.await.unwrap();
}

#[tokio::test]
async fn the_api_is_not_opened_to_others_without_tls() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = bind(address.parse().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("only loopback addresses"), "{error}");
    }
}

/// What the server says, and after how long, to a client that sends this and then nothing.
async fn says_to(request: &str) -> (String, Duration) {
    let world = world();
    let (client, _server) = start(&world).await;
    let address = client.name().strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let started = tokio::time::Instant::now();
    let mut said = String::new();
    socket.read_to_string(&mut said).await.unwrap();
    (said.lines().next().unwrap_or_default().to_owned(), started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_say_what_it_wants_is_let_go() {
    let with_token = format!(
        "GET /v1/apps HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let known = (with_token.as_str(), "HTTP/1.1 200 OK", 30);
    for (request, answer, seconds) in [
        ("", "", 20),
        ("GET /v1/apps HTTP/1.1\r\nhost: loc", "", 20),
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", "HTTP/1.1 200 OK", 20),
        known,
    ] {
        let (said, after) = says_to(request).await;
        assert_eq!((said.as_str(), after.as_secs()), (answer, seconds), "{request}");
    }
}

#[tokio::test]
async fn silent_clients_do_not_shut_the_api() {
    let world = world();
    let (client, _server) = start(&world).await;
    let address = client.name().strip_prefix("http://").unwrap().to_owned();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    with(&client, |client| client.apps().unwrap()).await;
    // The first made room for the last.
    let mut said = Vec::new();
    assert_eq!(silent[0].read_to_end(&mut said).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn the_socket_in_the_data_folder_is_its_users_alone_whatever_the_paths_length() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&data).unwrap();
    // Left by a server that was killed.
    std::fs::write(data.join(wire::SOCKET), "").unwrap();
    let listener = bind_in_folder(&data).unwrap();
    let mode = std::fs::metadata(data.join(wire::SOCKET)).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    let _server = tokio::spawn(serve_socket(listener, world.router(), world.stop.subscribe()));
    let token = Some(Secret::new(TOKEN));
    let client = ApiClient::in_folder(&data, token, Trusted::default()).unwrap();
    let apps = with(&client, |client| client.apps().unwrap()).await;
    assert_eq!(apps.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let request = format!(
        "POST /v1/apps/web/deploys HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: 10\r\n\r\n{{"
    );
    let (said, after) = says_to(&request).await;
    assert_eq!(said, "HTTP/1.1 408 Request Timeout");
    assert_eq!(after.as_secs(), 30);
}
