//! Carries out SIGHUP: files are read and opened anew while the server goes on.

use std::path::Path;

use server::Guard;

/// Opens the access log anew, for whoever has renamed it, and reads the token. What cannot be read stays as
/// it was.
pub async fn reload(data: &Path, guard: &Guard, proxy: &proxy::Proxy) {
    let (data, guard, proxy) = (data.to_owned(), guard.clone(), proxy.clone());
    let work = move || {
        match proxy.reopen_access_log() {
            Ok(()) => tracing::info!("SIGHUP: the access log, if there is one, is opened anew"),
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
