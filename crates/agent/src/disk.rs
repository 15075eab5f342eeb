//! Work that would block the agent's only thread.

/// Work that waits for the disk, on a thread of its own; `None` if it panicked, which was logged.
pub(crate) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
