//! Finds out whether the sockets at an instance's address belong to the instance's own processes, and if not,
//! to which process. Reads `/proc` and changes nothing. Callers ask only when the sockets have changed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use model::{Address, InstanceId, Listeners, Target};
use nix::unistd::{Uid, User};

use crate::cgroup::Cgroup;
use crate::layout::InstanceLayout;
use crate::procfs;
use crate::runfolder::{ProcessRecord, RunFolder};
use crate::sockets::{Listening, SockDiag};
use crate::unresponsive_shim::is_shim_of;

/// The number of times that the processes are read, since a process may pass a socket on in the meantime.
const READS: usize = 2;

/// The owner of the sockets at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenerOwner {
    /// The instance owns all sockets. The list contains their inodes, ascending; it is empty if no socket
    /// listens.
    Own(Vec<u64>),
    /// Another process owns at least one socket. The sentence names the owner and says what to do.
    Foreign(String),
}

impl ListenerOwner {
    pub fn listeners(&self) -> Listeners {
        match self {
            Self::Own(inodes) => Listeners::Own(inodes.clone()),
            Self::Foreign(_) => Listeners::Foreign,
        }
    }
}

/// Returns the instances of a saved routing table that must not get requests yet, and why: the sockets at
/// their addresses are neither those of the table nor provably the instances' own. Used when a server starts,
/// before the agent has adopted its instances.
pub fn foreign_listeners<'a>(
    data: &Path,
    targets: impl IntoIterator<Item = &'a Target>,
) -> Vec<(InstanceId, String)> {
    let noted =
        targets.into_iter().filter_map(|target| match (&target.listeners, &target.address) {
            (Listeners::Own(inodes), Address::Tcp(address)) => Some((&target.id, *address, inodes)),
            (Listeners::Own(_) | Listeners::Unknown | Listeners::Any | Listeners::Foreign, _) => {
                None
            }
        });
    let mut noted = noted.peekable();
    if noted.peek().is_none() {
        return Vec::new();
    }
    let Ok(data) = std::path::absolute(data) else { return Vec::new() };
    let layout = InstanceLayout::new(&data);
    let table = match SockDiag::default().read_table() {
        Ok(table) => table,
        Err(e) => {
            let refuse = |(id, ..): (&InstanceId, _, _)| (id.clone(), unreadable(&e));
            return noted.map(refuse).collect();
        }
    };
    let strange = |(id, address, inodes): (&InstanceId, SocketAddr, &Vec<u64>)| {
        let sockets = table.at(address);
        if !sockets.is_empty()
            && sockets.iter().map(|socket| socket.inode).eq(inodes.iter().copied())
        {
            return None;
        }
        match find_owner(&layout, id, &sockets) {
            ListenerOwner::Own(inodes) if inodes.is_empty() => {
                Some((id.clone(), format!("nobody listens at {address} any more")))
            }
            ListenerOwner::Own(_) => None,
            ListenerOwner::Foreign(why) => Some((id.clone(), why)),
        }
    };
    noted.filter_map(strange).collect()
}

/// Returns those of the instances that run here and listen where they are said to. With `any`, something else than
/// their own processes may listen there. Blocks.
pub fn listening(
    data: &Path,
    said: impl IntoIterator<Item = (InstanceId, SocketAddr, bool)>,
) -> BTreeSet<InstanceId> {
    let Ok(data) = std::path::absolute(data) else { return BTreeSet::new() };
    let layout = InstanceLayout::new(&data);
    let Ok(table) = SockDiag::default().read_table() else { return BTreeSet::new() };
    let listens = |(id, address, any): &(InstanceId, SocketAddr, bool)| {
        // Its shim holds the lock for as long as the instance lives.
        let lives = matches!(RunFolder::at(&layout.run(id)).lives(), Ok(true));
        let sockets = table.at(*address);
        lives
            && !sockets.is_empty()
            && (*any || matches!(find_owner(&layout, id, &sockets), ListenerOwner::Own(_)))
    };
    said.into_iter().filter(listens).map(|(id, ..)| id).collect()
}

/// Returns a sentence that says why the sockets could not be read.
pub(crate) fn unreadable(e: &io::Error) -> String {
    format!(
        "cannot see who listens on this machine: {e}; `listener = \"any\"` in [run] goes without \
         that check"
    )
}

/// Finds the owner of these sockets at the instance's address. Blocks.
pub(crate) fn find_owner(
    layout: &InstanceLayout,
    id: &InstanceId,
    sockets: &[Listening],
) -> ListenerOwner {
    let folder = RunFolder::at(&layout.run(id));
    let mut foreign = sockets.to_vec();
    for _ in 0..READS {
        if foreign.is_empty() {
            break;
        }
        let Ok(Some(record)) = folder.process() else { break };
        let held = HeldSockets::of(&folder, &record, &foreign);
        foreign.retain(|socket| !held.inodes.contains(&socket.inode));
        if held.is_closed {
            foreign.retain(|socket| !is_by_user(layout, id, &held.users, socket.uid));
        }
    }
    match foreign.first() {
        None => ListenerOwner::Own(sockets.iter().map(|socket| socket.inode).collect()),
        Some(socket) => ListenerOwner::Foreign(refusal(id, socket)),
    }
}

/// Returns the addresses at which the processes of an instance listen, among these sockets. Blocks.
pub(crate) fn find_listening(
    layout: &InstanceLayout,
    id: &InstanceId,
    sockets: &[Listening],
) -> Vec<SocketAddr> {
    let folder = RunFolder::at(&layout.run(id));
    let Ok(Some(record)) = folder.process() else { return Vec::new() };
    let held = HeldSockets::of(&folder, &record, sockets);
    let own = sockets.iter().filter(|socket| held.inodes.contains(&socket.inode));
    let addresses: BTreeSet<SocketAddr> = own.map(|socket| socket.address).collect();
    addresses.into_iter().collect()
}

/// The sockets that the processes of an instance hold.
#[derive(Default)]
struct HeldSockets {
    inodes: BTreeSet<u64>,
    users: BTreeSet<u32>,
    /// True if the descriptors of at least one process cannot be read.
    is_closed: bool,
}

impl HeldSockets {
    /// Reads which of these sockets the processes of an instance hold.
    fn of(folder: &RunFolder, record: &ProcessRecord, wanted: &[Listening]) -> Self {
        let mut held = Self::default();
        for pids in [in_group(record), below_shim(folder, record)] {
            held.take_in(&pids, wanted);
        }
        held
    }

    /// Reads the descriptors of these processes until all of the sockets are found.
    fn take_in(&mut self, pids: &BTreeSet<u32>, wanted: &[Listening]) {
        for pid in pids {
            if wanted.iter().all(|socket| self.inodes.contains(&socket.inode)) {
                return;
            }
            match procfs::sockets_of(*pid) {
                Ok(inodes) => self.inodes.extend(inodes),
                // The process has ended.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(_) => self.is_closed = true,
            }
            self.users.extend(procfs::user_of(*pid));
        }
    }
}

fn in_group(record: &ProcessRecord) -> BTreeSet<u32> {
    let group = record.cgroup.as_deref().map(Cgroup::at);
    group.iter().flat_map(Cgroup::members).collect()
}

/// Returns the instance's first process and all descendants of its shim, which adopts its orphans.
fn below_shim(folder: &RunFolder, record: &ProcessRecord) -> BTreeSet<u32> {
    if record.boot_id != procfs::boot_id() {
        return BTreeSet::new();
    }
    let all = procfs::processes();
    let main = all.get(&record.pid).filter(|process| process.start == record.start);
    let Some(main) = main else { return BTreeSet::new() };
    let mut roots = BTreeSet::from([record.pid]);
    // If the shim has died, another process has become the parent.
    let shim = Some(main.parent).filter(|shim| is_shim_of(*shim, folder));
    roots.extend(shim);
    let mut tree = procfs::with_descendants(roots, &all);
    tree.retain(|pid| Some(*pid) != shim);
    tree
}

/// Returns whether a socket's user can only be the instance's, because the user runs this app and no other.
/// This decides if descriptors cannot be read.
fn is_by_user(layout: &InstanceLayout, id: &InstanceId, users: &BTreeSet<u32>, uid: u32) -> bool {
    if !users.contains(&uid) {
        return false;
    }
    let Ok(folders) = fs::read_dir(layout.runs()) else { return false };
    let names = folders.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let others = names.filter_map(|name| name.parse::<InstanceId>().ok());
    let boot = procfs::boot_id();
    let runs_as = |other: &InstanceId| {
        let record = RunFolder::at(&layout.run(other)).process().ok().flatten()?;
        let lives = procfs::process(record.pid).is_some_and(|it| it.start == record.start);
        (lives && record.boot_id == boot).then(|| procfs::user_of(record.pid)).flatten()
    };
    others.filter(|other| other.app != id.app).all(|other| runs_as(&other) != Some(uid))
}

/// Returns a sentence that names the holder of the socket and says what to do.
fn refusal(id: &InstanceId, socket: &Listening) -> String {
    let port = socket.address.port();
    let user = |uid: u32| match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("user {}", user.name),
        Ok(None) | Err(_) => format!("user {uid}"),
    };
    let holds = |pid: &u32| procfs::sockets_of(*pid).is_ok_and(|held| held.contains(&socket.inode));
    let holder = procfs::processes().into_keys().find(holds);
    let holder = match holder {
        Some(pid) => {
            let uid = procfs::user_of(pid).unwrap_or(socket.uid);
            format!("{} (pid {pid}, {})", procfs::name_of(pid), user(uid))
        }
        None => format!("a process of {} that segue cannot look into", user(socket.uid)),
    };
    format!(
        "port {port} is held by {holder}, which is no process of {id}; if it listens for {id} \
         (Docker, socket activation, PM2), set `listener = \"any\"` in [run]"
    )
}
