//! Runs work that would block the agent's only thread.

/// Runs work that waits for the disk on another thread. Returns `None` if the work panicked; the panic was
/// logged.
pub(crate) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
