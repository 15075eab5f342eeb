//! Carries out SIGHUP: reads and reopens files while the server goes on.

use std::path::Path;

use server::Guard;

/// Reopens the access log, so that a log rotator can rename the file, and reads the token again. If a file
/// cannot be read, its previous state stays in use.
pub async fn reload(data: &Path, guard: &Guard, proxy: &proxy::Proxy) {
    let (data, guard, proxy) = (data.to_owned(), guard.clone(), proxy.clone());
    let work = move || {
        match proxy.reopen_access_log() {
            Ok(()) => tracing::info!("SIGHUP: the access log, if there is one, is reopened"),
            Err(error) => {
                tracing::error!("the access log stays where it is: {}", model::in_full(&error))
            }
        }
        match server::load_or_create_token(&data) {
            Ok(token) => guard.replace_token(token),
            Err(error) => tracing::error!("the token stays as it was: {error}"),
        }
    };
    let _ = tokio::task::spawn_blocking(work).await;
}
