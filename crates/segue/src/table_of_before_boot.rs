//! The table that a proxy saved before its machine was booted. Its addresses may belong to other instances by now, so
//! without control it is used only for instances that their hosts confirm, and anew each time when that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use identity::Credentials;
use link::Listens;
use model::{Address, Generation, InstanceId, Listeners, Snapshot, Target, in_full};
use proxy::Proxy;
use tokio::task::JoinSet;

use crate::proxy_files::ProxyFiles;

/// The time that a proxy waits for control after a boot of its machine, before it asks the hosts.
const AFTER_BOOT: Duration = Duration::from_secs(10);
/// The time between two questions to the hosts.
const AGAIN: Duration = Duration::from_secs(5);

/// Waits for control, and then uses what the hosts confirm of the table until control gives another one. Nothing is
/// used before something is confirmed. Never returns. `used` is called each time it is used, with whether users can be
/// served with it.
pub async fn follow(
    saved: &Snapshot,
    proxy: &Proxy,
    files: &ProxyFiles,
    used: impl Fn(bool),
) -> Infallible {
    tokio::time::sleep(AFTER_BOOT).await;
    let is_empty = instances(saved).next().is_none();
    let mut in_use: Option<BTreeSet<InstanceId>> = None;
    let mut answers = Answers::new();
    for counter in 1.. {
        // Tables of control have its term, which is never 0. One that was only prepared may never be committed.
        if proxy.observe().acknowledged.term > 0 {
            break;
        }
        ask(saved, files, &mut answers).await;
        let confirmed: BTreeSet<_> = answers.values().flatten().cloned().collect();
        let is_useful = is_empty || !confirmed.is_empty();
        if in_use.as_ref() != Some(&confirmed) && (is_useful || in_use.is_some()) {
            let generation = Generation { term: 0, counter };
            tracing::warn!(
                instances = confirmed.len(),
                "nothing is heard of control: the table of before the boot is used for the instances that their \
                 hosts confirm"
            );
            match proxy.publish(&only(saved, &confirmed, generation)) {
                Ok(()) => {
                    used(is_useful);
                    in_use = Some(confirmed);
                }
                // Control has just given one.
                Err(error) => tracing::debug!(error = in_full(&error), "it is not used"),
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
    std::future::pending().await
}

/// What each host confirmed when it answered last.
type Answers = BTreeMap<SocketAddr, BTreeSet<InstanceId>>;

/// Asks the hosts which of the instances of a table still listen where the table has them. A host that does not answer
/// may be restarting its agent: what it confirmed last stays.
async fn ask(saved: &Snapshot, files: &ProxyFiles, answers: &mut Answers) {
    let questions = questions(saved, &files.hosts());
    answers.retain(|host, _| questions.contains_key(host));
    let mut asked = JoinSet::new();
    for (host, instances) in questions {
        let credentials = Credentials::open(&files.credentials);
        asked.spawn(async move {
            let credentials = credentials.map_err(|error| (host, error.to_string()))?;
            let credentials = credentials.ok_or((host, "there are no credentials".to_owned()))?;
            let answer = link::confirm(host, &credentials, instances).await;
            answer.map(|confirmed| (host, confirmed)).map_err(|error| (host, in_full(&error)))
        });
    }
    for answer in asked.join_all().await {
        match answer {
            Ok((host, confirmed)) => {
                answers.insert(host, confirmed);
            }
            Err((host, why)) => {
                tracing::warn!(%host, "a host does not confirm its instances: {why}")
            }
        }
    }
}

/// Returns whom to ask for which instances. Nobody can be asked for one on a host that is not known to answer.
fn questions(
    saved: &Snapshot,
    hosts: &[SocketAddr],
) -> BTreeMap<SocketAddr, BTreeMap<InstanceId, Listens>> {
    let mut questions = BTreeMap::<_, BTreeMap<_, _>>::new();
    for target in instances(saved) {
        let Address::Tcp(at) = target.address else { continue };
        if let Some(host) = hosts.iter().find(|host| host.ip() == at.ip()) {
            let listens = Listens { at, any: target.listeners == Listeners::Any };
            questions.entry(*host).or_default().insert(target.id.clone(), listens);
        }
    }
    questions
}

fn instances(table: &Snapshot) -> impl Iterator<Item = &Target> {
    table.apps.iter().flat_map(|app| &app.arms).flat_map(|arm| &arm.instances)
}

/// Returns the table with these instances only.
fn only(saved: &Snapshot, confirmed: &BTreeSet<InstanceId>, generation: Generation) -> Snapshot {
    let mut table = Snapshot { generation, ..saved.clone() };
    for arm in table.apps.iter_mut().flat_map(|app| &mut app.arms) {
        arm.instances.retain(|target| confirmed.contains(&target.id));
    }
    table
}
