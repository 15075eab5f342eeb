//! The user and group that an app runs as, and the owner and modes of its files. Looks names up and changes
//! nothing.

use model::{Files, Run};
use nix::unistd::{Gid, Group, Uid, User};

/// The user and group of an app, as the machine knows them.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The user, if the app names one.
    pub user: Option<User>,
    /// The group that the app names, or else the user's own group.
    pub gid: Option<Gid>,
}

impl Identity {
    /// Looks up the user and the group.
    ///
    /// # Errors
    /// If there is no such user or group, or segue may run apps only as its own user.
    pub fn of(user: Option<&str>, group: Option<&str>) -> Result<Self, String> {
        let user = user.map(find_user).transpose()?;
        let group = group.map(find_group).transpose()?;
        let gid = group.or(user.as_ref().map(|user| user.gid));
        let identity = Self { user, gid };
        if !Uid::effective().is_root() {
            let other_group = group.is_some_and(|gid| gid != Gid::effective());
            if identity.other_user().is_some() || other_group {
                let why = "segue has to run as root to run an app as another user or group";
                return Err(why.to_owned());
            }
        }
        Ok(identity)
    }

    /// Returns the user, if it is not the one that segue runs as.
    pub fn other_user(&self) -> Option<&User> {
        self.user.as_ref().filter(|user| user.uid != Uid::effective())
    }
}

fn find_user(name: &str) -> Result<User, String> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    found.map_err(|e| e.to_string())?.ok_or_else(|| format!("there is no user {name:?}"))
}

fn find_group(name: &str) -> Result<Gid, String> {
    let found = match name.parse() {
        Ok(number) => return Ok(Gid::from_raw(number)),
        Err(_) => Group::from_name(name),
    };
    let group = found.map_err(|e| e.to_string())?;
    group.map(|group| group.gid).ok_or_else(|| format!("there is no group {name:?}"))
}

/// The owner and the modes of a release's files and of an app's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The owner; `None` for segue's own user.
    pub(crate) uid: Option<u32>,
    /// The group; `None` for segue's own group.
    pub(crate) gid: Option<u32>,
    file: u32,
    state: u32,
}

impl Access {
    /// The access of an app that runs as segue's own user.
    pub const OWN: Self = Self { uid: None, gid: None, file: 0o600, state: 0o700 };

    /// Returns the access for an app that runs as `run` says. Files are readable for the app's user only, and
    /// writable only if that user is segue's own. `group` adds the group's members, and `files = "world"`
    /// adds everybody.
    ///
    /// # Errors
    /// If there is no such user or group, or segue may not run an app as this user.
    pub fn of(run: &Run) -> Result<Self, String> {
        let identity = Identity::of(run.user.as_deref(), run.group.as_deref())?;
        let other = identity.other_user().map(|user| user.uid.as_raw());
        let gid = identity.gid.filter(|_| Uid::effective().is_root()).map(Gid::as_raw);
        let (group_file, group_state) = if run.group.is_some() { (0o040, 0o050) } else { (0, 0) };
        let file = match run.files {
            Files::World => 0o644,
            Files::Private if other.is_some() => 0o400 | group_file,
            Files::Private => 0o600 | group_file,
        };
        Ok(Self { uid: other, gid, file, state: 0o700 | group_state })
    }

    /// Returns the mode of a file.
    pub(crate) fn file(self, executable: bool) -> u32 {
        if executable { self.file | (self.file & 0o444) >> 2 } else { self.file }
    }

    /// Returns the mode of a folder. A user who may read its files may also enter it.
    pub(crate) fn folder(self) -> u32 {
        self.file(true)
    }

    /// Returns the mode of the folder for state, which the app's user may always write to.
    pub(crate) fn state(self) -> u32 {
        self.state
    }

    /// Returns the owner of a release's files. Files that everybody may read stay segue's, so that the app
    /// cannot give itself permission to change them.
    pub(crate) fn file_owner(self) -> (Option<u32>, Option<u32>) {
        if self.file & 0o004 == 0 { (self.uid, self.gid) } else { (None, None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(user: Option<&str>, group: Option<&str>, files: Files) -> Run {
        let (user, group) = (user.map(str::to_owned), group.map(str::to_owned));
        Run { user, group, files, ..Run::of_command(["x".to_owned()]) }
    }

    fn modes(run: &Run) -> (u32, u32, u32, u32) {
        let access = Access::of(run).unwrap();
        (access.file(false), access.file(true), access.folder(), access.state())
    }

    #[test]
    fn an_app_of_segues_own_user_keeps_its_write_bits() {
        assert_eq!(Access::of(&run(None, None, Files::Private)).unwrap(), Access::OWN);
        assert_eq!(modes(&run(None, None, Files::Private)), (0o600, 0o700, 0o700, 0o700));
        assert_eq!(modes(&run(None, None, Files::World)), (0o644, 0o755, 0o755, 0o700));
    }

    #[test]
    fn another_user_reads_and_a_group_only_if_it_is_named() {
        if !Uid::effective().is_root() {
            let why = Access::of(&run(Some("0"), None, Files::Private)).unwrap_err();
            assert!(why.contains("has to run as root"), "{why}");
            return;
        }
        let daemon = run(Some("daemon"), None, Files::Private);
        assert_eq!(modes(&daemon), (0o400, 0o500, 0o500, 0o700));
        let user = User::from_name("daemon").unwrap().unwrap();
        let owner = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        assert_eq!(Access::of(&daemon).unwrap().file_owner(), owner);
        let grouped = run(Some("daemon"), Some("7"), Files::Private);
        assert_eq!(modes(&grouped), (0o440, 0o550, 0o550, 0o750));
        assert_eq!(Access::of(&grouped).unwrap().file_owner().1, Some(7));
        let world = run(Some("daemon"), None, Files::World);
        assert_eq!(modes(&world), (0o644, 0o755, 0o755, 0o700));
        assert_eq!(Access::of(&world).unwrap().file_owner(), (None, None));
        assert_eq!(Access::of(&world).unwrap().uid, owner.0, "the state is its own");
    }
}
