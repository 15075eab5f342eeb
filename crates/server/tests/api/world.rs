//! A server with a scripted engine and a store in memory, for the API's tests.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use control::{Answer, Ask, Course, Refusal, RefusalCode, RolloutKind};
use model::{
    AppName, AppSpec, AppView, ArmView, Digest, InstanceId, NotReady, Outcome, Readiness,
    ReleaseNo, ReleaseView, RolloutEvent, RolloutId, Share, Timestamp,
};
use server::{
    ApiEngine, ApiHost, ApiState, ApiStore, Became, EngineCommand, Feed, Guard, Pending,
    StoreError, Subscription, router,
};
use tokio::sync::watch;
use wire::{
    AppFile, Blob, FileEntry, Kind, LogCursor, LogLine, LogPage, LogRequest, LogStart, Manifest,
    Secret,
};

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Takes every command, but a deploy of what is under way by somebody else.
#[derive(Default)]
pub struct Scripted {
    pub feed: Feed,
    pub commands: Mutex<Vec<EngineCommand>>,
    pub dry_runs: Mutex<Vec<EngineCommand>>,
    /// The answer to dry runs, if it is not that v2 begins.
    pub verdict: Mutex<Option<Result<Answer, Refusal>>>,
    pub read_only: Mutex<Option<String>>,
    /// Nothing could be read: no app is known.
    pub blind: Mutex<bool>,
}

fn app_view() -> AppView {
    AppView {
        app: "web".parse().unwrap(),
        version: 7,
        live: Some(ArmView {
            release: ReleaseNo(1),
            label: "v1".parse().unwrap(),
            share: Share::ALL,
            instances: vec![],
        }),
        standby: None,
        candidate: None,
        rollout: None,
        rollback: Readiness::NotReady(NotReady::NoPrevious),
        waiting: vec![],
        releases: vec![ReleaseView {
            no: ReleaseNo(1),
            label: "v1".parse().unwrap(),
            digest: Digest::from_bytes([7; 32]),
            spec: Arc::new(stored_spec()),
            content: Some(Digest::from_bytes([9; 32])),
            created: Timestamp(5),
            bad: None,
            service: model::Service::Unknown,
            conventions: model::Conventions::NOW,
        }],
        receipts: vec![],
        maintenance: false,
        scale: None,
        removing: false,
        owed: Vec::new(),
    }
}

/// The answer to a deploy of v2: rolled out, by a strategy that no request here asks for.
pub fn v2_begins() -> Answer {
    let strategy = AppFile::from_toml("app = \"web\"\n[run]\ncommand = [\"./x\"]\n").unwrap();
    let strategy = strategy.with_strategy("recreate").unwrap().spec.strategy;
    let from = Some("v1".parse().unwrap());
    let course = Course { kind: RolloutKind::Deploy, from, strategy, replicas: 4, hosts: None };
    Answer {
        rollout: Some(RolloutId(3)),
        already: false,
        release: Some((ReleaseNo(2), "v2".parse().unwrap())),
        note: "v2 is release #2".into(),
        ends: Some(RolloutId(2)),
        begins: Some(Box::new(course)),
    }
}

fn stored_spec() -> AppSpec {
    let text = "app = \"web\"\n[run]\ncommand = [\"./x\"]\nreplicas = 2\n";
    let mut spec = AppFile::from_toml(text).unwrap().spec;
    spec.run.env.insert("OLD".into(), Digest::from_bytes([1; 32]));
    spec
}

impl ApiEngine for Scripted {
    fn now(&self) -> Timestamp {
        Timestamp(1_000)
    }

    fn view(&self, app: &AppName) -> Option<Arc<AppView>> {
        self.apps().into_iter().find(|view| view.app == *app)
    }

    fn apps(&self) -> Vec<Arc<AppView>> {
        if *self.blind.lock().unwrap() { vec![] } else { vec![Arc::new(app_view())] }
    }

    fn command(&self, command: EngineCommand) -> Pending<'_, Result<Answer, Refusal>> {
        Box::pin(async move {
            if command.seen.is_some_and(|seen| seen < 7) {
                let message = "`web` has changed since".into();
                return Err(Refusal { code: RefusalCode::Conflict, message, hint: None });
            }
            if let Ask::Deploy { .. } = command.ask {
                self.feed.publish(RolloutEvent {
                    at: Timestamp(1_000),
                    app: command.app.clone(),
                    rollout: Some(RolloutId(3)),
                    text: "v2 is live".into(),
                    outcome: Some(Outcome::Completed),
                });
            }
            self.commands.lock().unwrap().push(command);
            Ok(v2_begins())
        })
    }

    fn dry_run(&self, command: EngineCommand) -> Pending<'_, Result<Answer, Refusal>> {
        Box::pin(async move {
            self.dry_runs.lock().unwrap().push(command);
            self.verdict.lock().unwrap().clone().unwrap_or_else(|| Ok(v2_begins()))
        })
    }

    fn account(&self, _app: &AppName) -> Pending<'_, Option<model::Receipt>> {
        Box::pin(async { None })
    }

    fn events(&self, app: &AppName, after: u64) -> Subscription {
        self.feed.follow(app, after)
    }

    fn read_only(&self) -> Option<String> {
        self.read_only.lock().unwrap().clone()
    }
}

/// A store and a host. Keeps blobs in memory; a digest is good if its first byte is the content's first byte.
#[derive(Default)]
pub struct Shelf {
    pub blobs: Mutex<BTreeMap<Digest, usize>>,
    pub became: Mutex<Vec<Became>>,
}

impl ApiStore for Shelf {
    fn missing(&self, blobs: &[Blob]) -> Result<Vec<Digest>, StoreError> {
        let kept = self.blobs.lock().unwrap();
        Ok(blobs.iter().map(|b| b.digest).filter(|d| !kept.contains_key(d)).collect())
    }

    fn put_blob(&self, digest: Digest, content: &mut dyn Read) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        let read = content.read_to_end(&mut bytes);
        read.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        if blake3::hash(&bytes).as_bytes() != digest.as_bytes() {
            return Err(StoreError::Invalid("the content is not what the digest names".into()));
        }
        self.blobs.lock().unwrap().insert(digest, bytes.len());
        Ok(())
    }

    fn put_manifest(
        &self,
        _app: &AppName,
        manifest: &Manifest,
        _before: Option<Digest>,
    ) -> Result<Digest, StoreError> {
        Ok(Digest::from_bytes([u8::try_from(manifest.entries.len()).unwrap(); 32]))
    }

    fn manifest(&self, _app: &AppName, _digest: Digest) -> Option<Manifest> {
        let kind = Kind::File { digest: Digest::from_bytes([4; 32]), size: 3, executable: true };
        let file = |path: &str| FileEntry { path: path.into(), kind: kind.clone(), modified: None };
        Some(Manifest { entries: vec![file("gone"), file("same"), file("y")] })
    }

    fn is_without_app_file(&self, _app: &AppName, stored: Digest, _wanted: &Manifest) -> bool {
        stored == Digest::from_bytes([7; 32])
    }

    fn put_env(
        &self,
        _app: &AppName,
        values: BTreeMap<String, Secret>,
    ) -> Result<BTreeMap<String, Digest>, StoreError> {
        Ok(values.into_keys().map(|name| (name, Digest::from_bytes([1; 32]))).collect())
    }

    fn env_is(&self, _app: &AppName, _env: &BTreeMap<String, Digest>, became: Became) {
        self.became.lock().unwrap().push(became);
    }

    fn env_digests(
        &self,
        _app: &AppName,
        values: &BTreeMap<String, Secret>,
    ) -> BTreeMap<String, Digest> {
        values.keys().map(|name| (name.clone(), Digest::from_bytes([1; 32]))).collect()
    }
}

impl ApiHost for Shelf {
    fn running(&self) -> io::Result<u32> {
        Ok(2)
    }

    fn logs(&self, request: &LogRequest) -> io::Result<LogPage> {
        let instance: InstanceId = "web-1".parse().unwrap();
        let line = |text: &str| LogLine::new(instance.clone(), text.into());
        let (lines, at) = match &request.start {
            LogStart::Last(_) => (vec![line("one"), line("two")], 2),
            LogStart::After(LogCursor(at)) if at[&instance] == 2 => (vec![line("three")], 3),
            LogStart::After(LogCursor(at)) => (vec![], at[&instance]),
        };
        Ok(LogPage { lines, next: LogCursor([(instance, at)].into()) })
    }

    fn states(&self) -> io::Result<BTreeMap<AppName, PathBuf>> {
        let names =
            ["web", "gone"].map(|name| (name.parse().unwrap(), format!("/data/{name}").into()));
        Ok(names.into())
    }
}

/// The scripted server's parts.
pub struct World {
    pub as_root: bool,
    pub engine: Arc<Scripted>,
    pub shelf: Arc<Shelf>,
    pub down: watch::Sender<bool>,
    pub stop: watch::Sender<bool>,
}

pub fn world() -> World {
    World {
        as_root: false,
        engine: Arc::default(),
        shelf: Arc::default(),
        down: watch::Sender::new(false),
        stop: watch::Sender::new(false),
    }
}

impl World {
    pub fn router(&self) -> axum::Router {
        let parts = ApiState {
            as_root: self.as_root,
            engine: self.engine.clone(),
            store: self.shelf.clone(),
            fleet: Arc::new(server::NoFleet),
            host: self.shelf.clone(),
            down: self.down.clone(),
            metrics: Arc::new(|| "segue_up 1\n".into()),
            traffic_warning: Arc::new(|_| None),
            ready: Arc::new(|| Err("no snapshot yet".into())),
            stop: self.stop.subscribe(),
        };
        router(parts, Guard::new(Secret::new(TOKEN), vec![]))
    }
}
