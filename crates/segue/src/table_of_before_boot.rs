//! The table that a proxy saved before its machine was booted. Its addresses may belong to other instances by now, so
//! without control it is used only for instances that their hosts confirm, and anew each time when that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use identity::Credentials;
use link::Listens;
use model::{Address, Generation, InstanceId, Listeners, Snapshot, in_full};
use proxy::Proxy;
use tokio::task::JoinSet;

use crate::proxy_files::ProxyFiles;

/// The time that a proxy waits for control after a boot of its machine, before it asks the hosts.
const AFTER_BOOT: Duration = Duration::from_secs(10);
/// The time between two questions to the hosts.
const AGAIN: Duration = Duration::from_secs(5);

/// Waits for control, and then uses what the hosts confirm of the table until control gives another one. Never
/// returns. `used` is called when it is used for the first time.
pub async fn follow(
    saved: &Snapshot,
    proxy: &Proxy,
    files: &ProxyFiles,
    used: impl Fn(),
) -> Infallible {
    tokio::time::sleep(AFTER_BOOT).await;
    let mut before: Option<BTreeSet<InstanceId>> = None;
    for counter in 1.. {
        // Tables of control have its term, which is never 0.
        if proxy.observe().prepared.term > 0 {
            break;
        }
        let confirmed = confirmed(saved, files).await;
        if before.as_ref() != Some(&confirmed) {
            let generation = Generation { term: 0, counter };
            let table = only(saved, &confirmed, generation);
            tracing::warn!(
                instances = confirmed.len(),
                "nothing is heard of control: the table of before the boot is used for the instances that their \
                 hosts confirm"
            );
            match proxy.publish(&table) {
                Ok(()) => used(),
                // Control has just given one.
                Err(error) => tracing::debug!(error = in_full(&error), "it is not used"),
            }
            before = Some(confirmed);
        }
        tokio::time::sleep(AGAIN).await;
    }
    std::future::pending().await
}

/// Asks the hosts which of the instances of a table still listen where the table has them.
async fn confirmed(saved: &Snapshot, files: &ProxyFiles) -> BTreeSet<InstanceId> {
    let mut asked = JoinSet::new();
    for (host, instances) in questions(saved, &files.hosts()) {
        let credentials = Credentials::open(&files.credentials);
        asked.spawn(async move {
            let credentials = credentials.map_err(|error| error.to_string())?;
            let credentials = credentials.ok_or("there are no credentials")?;
            let answer = link::confirm(host, &credentials, instances).await;
            answer.map_err(|error| in_full(&error))
        });
    }
    let mut confirmed = BTreeSet::new();
    for answer in asked.join_all().await {
        match answer {
            Ok(instances) => confirmed.extend(instances),
            Err(why) => tracing::warn!("a host does not confirm its instances: {why}"),
        }
    }
    confirmed
}

/// Returns whom to ask for which instances. Nobody can be asked for one on a host that is not known to answer.
fn questions(
    saved: &Snapshot,
    hosts: &[SocketAddr],
) -> BTreeMap<SocketAddr, BTreeMap<InstanceId, Listens>> {
    let mut questions = BTreeMap::<_, BTreeMap<_, _>>::new();
    let arms = saved.apps.iter().flat_map(|app| &app.arms);
    for target in arms.flat_map(|arm| &arm.instances) {
        let Address::Tcp(at) = target.address else { continue };
        if let Some(host) = hosts.iter().find(|host| host.ip() == at.ip()) {
            let listens = Listens { at, any: target.listeners == Listeners::Any };
            questions.entry(*host).or_default().insert(target.id.clone(), listens);
        }
    }
    questions
}

/// Returns the table with these instances only.
fn only(saved: &Snapshot, confirmed: &BTreeSet<InstanceId>, generation: Generation) -> Snapshot {
    let mut table = Snapshot { generation, ..saved.clone() };
    for arm in table.apps.iter_mut().flat_map(|app| &mut app.arms) {
        arm.instances.retain(|target| confirmed.contains(&target.id));
    }
    table
}
