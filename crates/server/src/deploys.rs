//! Deploys and their dry runs. Both read the body and ask the engine in the same way; only the deploy stores
//! anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use control::{Ask, NewRelease, RolloutKind};
use model::{AppName, AppSpec, AppView, Digest, Label, ReleaseView, RolloutId};
use wire::{
    ANOTHER_NAME, AppFile, Blob, Code, DeployPlan, DeployRequest, DeployVerdict, Effect,
    EffectKind, Manifest, Planned, PlannedRelease, Problem, Secret, check_env_name,
};

use crate::answer::{ApiResult, No, Sent, app_name, blocking};
use crate::changes::{changes, files};
use crate::commands::{AcceptedResponse, accepted, ask, states};
use crate::{ApiHost, ApiState, ApiStore, Became, EngineCommand, StoreError};

/// The limit for all values of an environment together, in bytes.
const ENV_LIMIT: usize = 256 * 1024;

pub(crate) async fn deploy(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    Sent(request): Sent<DeployRequest>,
) -> ApiResult<AcceptedResponse> {
    let app = app_name(&app)?;
    let DeployRequest { spec, label, manifest, env, replace, version } = request;
    let (mut spec, values) = read(&app, &spec, env)?;
    let (store, host) = (api.store.clone(), api.host.clone());
    let view = api.engine.view(&app);
    let named = label.clone();
    let (spec, files, content, warnings) = blocking(move || {
        let warnings = takes_over(&*host, view.as_deref(), &spec.app)?;
        spec.run.env = store.env_digests(&spec.app, &values);
        // The conflicts are looked for before anything is stored, so that a refused deploy stores nothing,
        // and so that the refusal can name the differences. The engine checks again.
        let view = view.filter(|view| !view.removing);
        let asked = Asked { spec: &spec, manifest: manifest.as_ref(), label: named };
        if let Some(taken) = taken(&*store, view.as_deref(), &asked)? {
            return Err(taken.refusal(&spec.app));
        }
        let files = content(&*store, view.as_deref(), &asked);
        let content = match &manifest {
            Some(manifest) if files == Some(manifest.digest()) => {
                let before = view.as_deref().and_then(live_content);
                Some(store.put_manifest(&spec.app, manifest, before)?)
            }
            Some(_) | None => files,
        };
        store.put_env(&spec.app, values)?;
        Ok((spec, files, content, warnings))
    })
    .await?;
    let digest = digest(&spec, files);
    let env = spec.run.env.clone();
    let release = Box::new(NewRelease { label, digest, content, spec: Arc::new(spec) });
    let command = EngineCommand { app, seen: version, ask: Ask::Deploy { release, replace } };
    let (status, Json(mut accepted)) = ask_with(&api, command, env).await?;
    accepted.warnings.extend(warnings);
    Ok((status, Json(accepted)))
}

/// Asks the engine, and tells the store the outcome for the values that were stored for this deploy.
async fn ask_with(
    api: &ApiState,
    command: EngineCommand,
    env: BTreeMap<String, Digest>,
) -> ApiResult<AcceptedResponse> {
    let api = api.clone();
    let asked = tokio::spawn(async move {
        let app = command.app.clone();
        let answer = ask(&api, command).await;
        let became = match &answer {
            Ok((_, Json(accepted))) => Some(Became::Accepted(accepted.rollout.map(RolloutId))),
            // It is not certain then whether the engine took the command: the values stay stored for a while.
            Err(No(Problem {
                code: Code::Unavailable | Code::Internal | Code::Timeout, ..
            })) => None,
            Err(_) => Some(Became::Refused),
        };
        if let Some(became) = became {
            let store = api.store.clone();
            let told = move || {
                store.env_is(&app, &env, became);
                Ok(())
            };
            let _ = blocking(told).await;
        }
        answer
    });
    asked.await.unwrap_or_else(|_| {
        Err(No(Problem::new(Code::Internal, "a defect of segue ended the command")))
    })
}

/// Answers what a deploy with this body would do. Stores no files or values; the engine makes a dry run.
pub(crate) async fn plan(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    Sent(request): Sent<DeployRequest>,
) -> ApiResult<Json<DeployPlan>> {
    let app = app_name(&app)?;
    let DeployRequest { spec, label, manifest, env, replace, version } = request;
    let (mut spec, values) = read(&app, &spec, env)?;
    let view = api.engine.view(&app);
    let (store, host) = (api.store.clone(), api.host.clone());
    let (before, named) = (view.clone(), label.clone());
    let Compared { spec, content, blobs, missing, changed, taken, warnings } =
        blocking(move || {
            if let Some(refused) = manifest.as_ref().and_then(|manifest| manifest.validate().err())
            {
                return Err(StoreError::Invalid(refused.to_string()));
            }
            let warnings = takes_over(&*host, before.as_deref(), &spec.app)?;
            let before = before.filter(|view| !view.removing);
            let blobs = manifest.as_ref().map_or_else(BTreeMap::new, Manifest::blobs);
            let sizes = blobs.iter().map(|(digest, size)| Blob { digest: *digest, size: *size });
            let missing = store.missing(&sizes.collect::<Vec<_>>())?;
            spec.run.env = store.env_digests(&spec.app, &values);
            let asked = Asked { spec: &spec, manifest: manifest.as_ref(), label: named };
            let content = content(&*store, before.as_deref(), &asked);
            let taken = taken(&*store, before.as_deref(), &asked)?;
            let live = before.as_deref().and_then(live).map(|stored| timeless(&*store, stored));
            let changed = live.map(|stored| changes(&stored, &spec, content));
            Ok(Compared { spec, content, blobs, missing, changed, taken, warnings })
        })
        .await?;
    let digest = digest(&spec, content);
    let asked_for = spec.strategy.kind.name();
    let release = planned(view.as_deref(), label.clone(), digest);
    let answer = match (&taken, api.read_only()) {
        (_, Some(problem)) => Err(No(problem)),
        (Some(taken), None) => Err(taken.refusal(&app).into()),
        (None, None) => {
            let release = Box::new(NewRelease { label, digest, content, spec: Arc::new(spec) });
            let ask = Ask::Deploy { release, replace };
            let command = EngineCommand { app: app.clone(), seen: version, ask };
            api.engine.dry_run(command).await.map_err(No::from)
        }
    };
    let course = answer.as_ref().ok().and_then(|answer| answer.begins.as_deref());
    let course = course.filter(|course| course.kind == RolloutKind::Deploy);
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Json(DeployPlan {
        release,
        live: view.as_ref().and_then(|view| view.live.as_ref()).map(|live| live.label.clone()),
        files: count(blobs.len()),
        uploads: count(missing.len()),
        upload_bytes: missing.iter().filter_map(|digest| blobs.get(digest)).sum(),
        strategy: course.map_or(asked_for, |course| course.strategy.kind.name()).to_owned(),
        steps: course.map_or_else(Vec::new, |course| {
            wire::steps(&course.strategy, course.replicas, course.from.as_ref())
        }),
        hosts: course.and_then(|course| course.hosts.clone()),
        changes: changed,
        rollout: view.and_then(|view| view.rollout.as_ref().map(|rollout| rollout.id.0)),
        differs: taken.map_or_else(Vec::new, |taken| taken.differs),
        verdict: match answer {
            Ok(answer) => DeployVerdict::Accepted(effect(&app, answer, warnings)),
            Err(No(problem)) => DeployVerdict::Refused(problem),
        },
        app,
    }))
}

/// A requested release, compared with the stored releases.
struct Compared {
    spec: AppSpec,
    content: Option<Digest>,
    blobs: BTreeMap<Digest, u64>,
    missing: Vec<Digest>,
    changed: Option<Vec<String>>,
    taken: Option<Taken>,
    warnings: Vec<String>,
}

/// Returns what a deploy with this answer would do.
fn effect(app: &AppName, answer: control::Answer, warnings: Vec<String>) -> Effect {
    let kind = match (answer.begins.as_deref(), answer.rollout) {
        (Some(course), _) if course.kind.renews() => EffectKind::Starts,
        (Some(_), _) => EffectKind::Begins,
        (None, Some(_)) => EffectKind::Joins,
        (None, None) if answer.already => EffectKind::Nothing,
        (None, None) => EffectKind::Returns,
    };
    let ends = answer.ends.map(|id| id.0);
    let answer = wire::CommandAccepted { warnings, ..accepted(app.clone(), answer) };
    Effect { kind, ends, answer }
}

/// The requested release.
struct Asked<'a> {
    spec: &'a AppSpec,
    manifest: Option<&'a Manifest>,
    label: Option<Label>,
}

/// Returns the live release.
fn live(view: &AppView) -> Option<&ReleaseView> {
    let live = view.live.as_ref()?.release;
    view.releases.iter().find(|release| release.no == live)
}

fn live_content(view: &AppView) -> Option<Digest> {
    live(view)?.content
}

/// Returns the release with the digest of its files in place of its list's digest, which depends on the
/// files' times.
fn timeless(store: &dyn ApiStore, stored: &ReleaseView) -> ReleaseView {
    let files = stored.content.map(|content| {
        store.manifest(&stored.spec.app, content).map_or(content, |list| list.digest())
    });
    ReleaseView { content: files, ..stored.clone() }
}

/// Returns the digest that names the release's files. This is the digest of a stored release with the same
/// files, if there is one.
fn content(store: &dyn ApiStore, view: Option<&AppView>, asked: &Asked<'_>) -> Option<Digest> {
    let manifest = asked.manifest?;
    let alike = stored_alike(store, view, asked.spec, manifest);
    Some(alike.unwrap_or_else(|| manifest.digest()))
}

/// A label that belongs to a release with other content.
struct Taken {
    release: ReleaseView,
    /// The names of the settings that differ.
    differs: Vec<String>,
}

impl Taken {
    fn refusal(&self, app: &AppName) -> StoreError {
        let Self { release, differs } = self;
        let (label, no, differs) = (&release.label, release.no, differs.join(", "));
        StoreError::Refused {
            message: format!(
                "cannot deploy {app}: the label {label} belongs to release {no}, with other content: \
                 {differs}"
            ),
            hint: "labels are immutable: choose another with `--release`",
        }
    }
}

/// Returns the release that already has the label, if its content is different.
fn taken(
    store: &dyn ApiStore,
    view: Option<&AppView>,
    asked: &Asked<'_>,
) -> Result<Option<Taken>, StoreError> {
    let content = content(store, view, asked);
    let digest = digest(asked.spec, content);
    let PlannedRelease { label, kind: Planned::Taken } = planned(view, asked.label.clone(), digest)
    else {
        return Ok(None);
    };
    let releases = view.map_or(&[][..], |view| &view.releases);
    let Some(stored) = releases.iter().find(|release| Some(&release.label) == label.as_ref())
    else {
        return Ok(None);
    };
    let mut differs = changes(&timeless(store, stored), asked.spec, content);
    // The strategy is not part of a release's content.
    differs.retain(|name| name != "strategy");
    let before = stored.content.and_then(|content| store.manifest(&asked.spec.app, content));
    if let (Some(before), Some(after)) = (before, asked.manifest)
        && let Some(word) = differs.iter_mut().find(|name| *name == "files")
    {
        *word = files(&before, after);
    }
    Ok(Some(Taken { release: stored.clone(), differs }))
}

/// Returns a warning if the state of a new app exists already: a removed app of that name has left it.
fn takes_over(
    host: &dyn ApiHost,
    view: Option<&AppView>,
    app: &AppName,
) -> Result<Vec<String>, StoreError> {
    let left = states(host)?.remove(app).filter(|_| view.is_none());
    let warning = left.map(|path| {
        let path = path.display();
        format!(
            "{app} takes over the state that a removed app of that name has left in {path}; to begin \
             without it: `segue remove {app} --with-state --yes`, then deploy again"
        )
    });
    Ok(warning.into_iter().collect())
}

/// Returns the release by its label, and whether the release is stored already. The engine makes the label
/// from the digest if the client gave none.
fn planned(view: Option<&AppView>, label: Option<Label>, digest: Digest) -> PlannedRelease {
    let label = label.or_else(|| digest.short().parse().ok());
    let stored = view.map_or(&[][..], |view| &view.releases);
    let live = view.and_then(|view| view.live.as_ref()).map(|live| live.release);
    let same_name = stored.iter().find(|release| Some(&release.label) == label.as_ref());
    let kind = match same_name {
        None => Planned::New,
        Some(release) if release.digest != digest => Planned::Taken,
        Some(release) if live == Some(release.no) => Planned::Live,
        Some(_) => Planned::Stored,
    };
    PlannedRelease { label, kind }
}

/// Returns the checked settings and all values of the environment.
fn read(
    app: &AppName,
    spec: &serde_json::Value,
    env: BTreeMap<String, Secret>,
) -> ApiResult<(AppSpec, BTreeMap<String, Secret>)> {
    let AppFile { spec, env: mut values, .. } = AppFile::from_json(spec).map_err(|error| {
        let problem = Problem::new(Code::Invalid, format!("spec: {error}"));
        No(Problem { hint: error.hint, ..problem })
    })?;
    if spec.app != *app {
        let message = format!("the spec is of app `{}`, the path of `{app}`", spec.app);
        return Err(No(Problem::new(Code::Invalid, message)));
    }
    values.extend(env);
    check_env(&values, &spec)?;
    Ok((spec, values))
}

/// Returns the list of files of a stored release with these settings, if that list has the same files and
/// also the app file. Earlier versions shipped the app file, and the re-run of a job's deploy has to find the
/// same release.
fn stored_alike(
    store: &dyn ApiStore,
    view: Option<&AppView>,
    spec: &AppSpec,
    manifest: &Manifest,
) -> Option<Digest> {
    let stored = view.map_or(&[][..], |view| &view.releases);
    let alike = stored.iter().filter(|release| {
        release.content.is_some() && digest(spec, release.content) == release.digest
    });
    let mut contents = alike.filter_map(|release| release.content);
    contents.find(|content| store.is_without_app_file(&spec.app, *content, manifest))
}

/// Returns the digest of everything that makes a release: its files and its settings, but not the strategy,
/// which belongs to the rollout. The digest is the Blake3 hash of their JSON; values of the environment count
/// by their digests.
fn digest(spec: &AppSpec, content: Option<Digest>) -> Digest {
    let AppSpec { app, run, health, route, drain, strategy: _, on } = spec;
    // These shapes have only texts as keys, so this cannot fail. A setting that is not there is no part of it.
    let text = match on {
        None => serde_json::to_vec(&(app, run, health, route, drain, content)),
        Some(on) => serde_json::to_vec(&(app, run, health, route, drain, content, on)),
    };
    let text = text.unwrap_or_default();
    Digest::from_bytes(*blake3::hash(&text).as_bytes())
}

fn check_env(values: &BTreeMap<String, Secret>, spec: &AppSpec) -> ApiResult<()> {
    for (name, value) in values {
        let wrong =
            |why: String| No(Problem::new(Code::Invalid, format!("variable `{name}`: {why}")));
        check_env_name(name, spec).map_err(|why| No(wrong(why).0.hint(ANOTHER_NAME)))?;
        if value.expose().contains('\0') {
            return Err(wrong("a zero byte cannot stand in a value".into()));
        }
    }
    let size: usize = values.iter().map(|(name, value)| name.len() + value.expose().len()).sum();
    if size > ENV_LIMIT {
        let message = format!("the environment has {size} bytes; at most {ENV_LIMIT} are allowed");
        return Err(No(Problem::new(Code::TooLarge, message)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An app file with every key that version 0.1.0 knew, each away from its default.
    const ALL_KEYS: &str = r#"
app = "shop"
[run]
command = ["./server", "--port", "$PORT"]
replicas = 3
user = "www-data"
group = "www-data"
[health]
path = "/healthz?full=1"
interval = "750ms"
timeout = "3s"
rise = 3
fall = 5
start_deadline = "2m"
[route]
hosts = ["shop.example", "*.shop.example"]
path = "/shop"
strip_prefix = true
canonical = "shop.example"
redirects = [{ from = "/shop/old", to = "/shop/new", status = 301 }]
affinity = "client-ip"
hold = "9s"
balance = "hash"
slow_start = "20s"
[limits]
body = "10MiB"
body_read = "30s"
first_byte = "90s"
between_bytes = "2m"
tunnel_idle = "2h"
[drain]
deadline = "45s"
[strategy]
kind = "canary"
steps = [{ share = "10%", hold = "5m" }]
"#;

    /// A digest is in the journal and in every `already live` that the re-run of a job relies on. A new
    /// version of segue must compute the same digest from the same app file. Version 0.1.0 computed these
    /// digests.
    #[test]
    fn digests_stay_those_of_the_first_version() {
        let content = Digest::from_bytes([0x5e; 32]);
        let short = "app = \"web\"\n[run]\ncommand = [\"python3\", \"server.py\"]\n";
        let of = |text: &str, content| digest(&AppFile::from_toml(text).unwrap().spec, content);
        let made = [of(short, None), of(short, Some(content)), of(ALL_KEYS, Some(content))];
        let golden = [
            "e304cb027af949865df5be450605bf6ad7d7bdf088a9576dae9e0e19b90a2825",
            "cc1065d8623fafe16aa47c9f194d221cdc5fbfdca61454951294ea3daba48c95",
            "cd597549856aa61ca468517e46ba872a275e038647f183b4c61b8dd1d58fd69f",
        ];
        assert_eq!(made.map(|digest| digest.to_string()), golden);
    }

    #[test]
    fn the_values_of_variables_count_and_the_strategy_does_not() {
        let mut spec = AppFile::from_toml(ALL_KEYS).unwrap().with_strategy("rolling").unwrap().spec;
        let canary = AppFile::from_toml(ALL_KEYS).unwrap().spec;
        assert_eq!(digest(&spec, None), digest(&canary, None));
        spec.run.env.insert("KEY".into(), Digest::from_bytes([1; 32]));
        assert_eq!(
            digest(&spec, None).to_string(),
            "778043fe63a31562a6737b0151a3feac4423729c4999ea75e583c9f370a19862"
        );
    }
}
