//! Which content a host gets: lists and contents of files, and values of variables, of releases that have an
//! instance on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::{ReleaseSource as _, SourceError, StoreSource};
use link::{ContentRefusal, ContentRequest, ServedContent};
use model::{AppView, MemberName, ReleaseView};
use server::AppViews;
use store::ReleaseStore;

/// The time in which an instance that a host was told to run is shown.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);
/// The time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Returns content for a host, or why it does not get it.
pub async fn for_host(
    board: &AppViews,
    store: &Arc<ReleaseStore>,
    host: &MemberName,
    wanted: ContentRequest,
) -> Result<ServedContent, ContentRefusal> {
    check(board, store, host, &wanted).await?;
    let source = StoreSource(store.clone());
    let refused = |error: SourceError| match error {
        SourceError::Refused(_) => ContentRefusal::NotStored,
        SourceError::Unavailable(_) => ContentRefusal::Unreadable,
    };
    match wanted {
        ContentRequest::Manifest { app, digest } => {
            source.manifest(&app, digest).await.map(ServedContent).map_err(refused)
        }
        ContentRequest::Blob { app, digest, from } => {
            source.content(&app, digest, from).await.map(ServedContent).map_err(refused)
        }
        ContentRequest::Value { app, name, digest } => {
            let value = source.value(&app, &name, digest).await.map_err(refused)?;
            Ok(ServedContent(Box::new(std::io::Cursor::new(value.expose().as_bytes().to_vec()))))
        }
    }
}

/// Refuses what no release needs that has an instance on the host. A host may ask before observers are shown
/// the instance that it was told to run, so one that is refused is looked at again for a moment.
async fn check(
    board: &AppViews,
    store: &Arc<ReleaseStore>,
    host: &MemberName,
    wanted: &ContentRequest,
) -> Result<(), ContentRefusal> {
    let (ContentRequest::Manifest { app, .. }
    | ContentRequest::Blob { app, .. }
    | ContentRequest::Value { app, .. }) = wanted;
    let until = Instant::now() + SHOWN_WITHIN;
    loop {
        // While the server starts, no app is shown yet.
        let Some(view) = board.view(app) else { return Err(ContentRefusal::Unreadable) };
        for release in view.releases.iter().filter(|release| runs_on(&view, release, host)) {
            if needs(store, release, wanted).await {
                return Ok(());
            }
        }
        if Instant::now() >= until {
            return Err(ContentRefusal::NotYours);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Returns whether the release needs what is wanted.
async fn needs(store: &Arc<ReleaseStore>, release: &ReleaseView, wanted: &ContentRequest) -> bool {
    match wanted {
        ContentRequest::Manifest { app: _, digest } => release.content == Some(*digest),
        ContentRequest::Blob { app, digest, from: _ } => {
            let Some(list) = release.content else { return false };
            let (store, app, digest) = (store.clone(), app.clone(), *digest);
            // Reading a list may take a while.
            let listed = move || store.content.is_listed(&app, list, digest);
            tokio::task::spawn_blocking(listed).await.unwrap_or(false)
        }
        ContentRequest::Value { app: _, name, digest } => {
            release.spec.run.env.get(name) == Some(digest)
        }
    }
}

/// Returns whether the release has an instance on the host.
fn runs_on(view: &AppView, release: &ReleaseView, host: &MemberName) -> bool {
    let arms = view.arms().filter(|arm| arm.release == release.no);
    arms.flat_map(|arm| &arm.instances).any(|it| it.host == host.as_host())
}
