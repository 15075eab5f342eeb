//! The data folder on disk. Its owner is checked before anything in it is read. Nothing in it is opened
//! through a symbolic link. Every mode is set instead of inherited. This crate knows the names of secret
//! files, but not the meaning of any file.

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
