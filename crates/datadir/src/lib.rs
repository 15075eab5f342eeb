//! The data folder on disk: who made it is checked before anything in it is read, nothing in it is
//! opened through a symbolic link, and every mode is set instead of inherited. Knows the names of
//! secrets, but never what any file means.

mod check;
mod files;
mod git_checkout;
mod path_links;
mod refusal;
mod socket;

pub use check::{DataDir, check_folder, check_names, check_tree};
pub use files::{
    append, clear_unfinished, create_private, is_there, open, open_or_create, passable_folder,
    private_folder, read, read_to_string, remove_folder, replace, set_mode, sync_files,
    sync_parent, temporary, write,
};
pub use refusal::Unsafe;
pub use socket::FoundSocket;
