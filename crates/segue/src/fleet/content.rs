//! Which content a host gets: lists and contents of files, and values of variables, of releases that have an
//! instance on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::{ReleaseSource as _, SourceError, StoreSource};
use link::{ContentRefusal, ContentRequest, ServedContent};
use model::{AppName, AppView, Digest, MemberName, ReleaseView};
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
    let source = StoreSource(store.clone());
    let refused = |error: SourceError| match error {
        SourceError::Refused(_) => ContentRefusal::NotStored,
        SourceError::Unavailable(_) => ContentRefusal::Unreadable,
    };
    match wanted {
        ContentRequest::Manifest { app, digest } => {
            check(board, host, &app, |release| release.content == Some(digest)).await?;
            source.manifest(&app, digest).await.map(ServedContent).map_err(refused)
        }
        ContentRequest::Blob { app, digest, from } => {
            let lists = |release: &ReleaseView| {
                release.content.is_some_and(|list| lists(store, &app, list, digest))
            };
            check(board, host, &app, lists).await?;
            source.content(&app, digest, from).await.map(ServedContent).map_err(refused)
        }
        ContentRequest::Value { app, name, digest } => {
            let names = |release: &ReleaseView| release.spec.run.env.get(&name) == Some(&digest);
            check(board, host, &app, names).await?;
            let value = source.value(&app, &name, digest).await.map_err(refused)?;
            Ok(ServedContent(Box::new(std::io::Cursor::new(value.expose().as_bytes().to_vec()))))
        }
    }
}

/// Refuses what no release needs that has an instance on the host. A host may ask before observers are shown
/// the instance that it was told to run, so one that is refused is looked at again for a moment.
async fn check(
    board: &AppViews,
    host: &MemberName,
    app: &AppName,
    needs: impl Fn(&ReleaseView) -> bool,
) -> Result<(), ContentRefusal> {
    let until = Instant::now() + SHOWN_WITHIN;
    loop {
        // While the server starts, no app is shown yet.
        let Some(view) = board.view(app) else { return Err(ContentRefusal::Unreadable) };
        let is_here = |release: &&ReleaseView| runs_on(&view, release, host);
        if view.releases.iter().filter(is_here).any(&needs) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(ContentRefusal::NotYours);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Returns whether the release has an instance on the host.
fn runs_on(view: &AppView, release: &ReleaseView, host: &MemberName) -> bool {
    let arms = [&view.live, &view.standby, &view.candidate];
    let arms = arms.into_iter().flatten().filter(|arm| arm.release == release.no);
    arms.flat_map(|arm| &arm.instances).any(|it| it.host == host.as_host())
}

fn lists(store: &ReleaseStore, app: &AppName, list: Digest, content: Digest) -> bool {
    let manifest = store.content.manifest(app, list);
    manifest.is_some_and(|manifest| manifest.blobs().contains_key(&content))
}
