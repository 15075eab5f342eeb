//! Uploads of blobs: answers which blobs are missing, and receives one blob at a time in bounded memory.

use std::io::{self, Read};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt as _;
use model::Digest;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::{Code, MOST_BYTES, MOST_ENTRIES, Missing, Problem, Wanted};

use crate::ApiState;
use crate::answer::{ApiResult, No, Sent, blocking};

/// The number of pieces of a body that may wait for the disk.
const IN_HAND: usize = 4;
/// An upload that stalls for this time is given up.
const STALL: Duration = Duration::from_secs(60);
/// An upload with a lower average rate is given up, too.
const BYTES_PER_SECOND: u64 = 16 * 1024;

pub(crate) async fn missing(
    State(api): State<ApiState>,
    Sent(Wanted { blobs }): Sent<Wanted>,
) -> ApiResult<Json<Missing>> {
    let bytes = blobs.iter().fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
    if blobs.len() > MOST_ENTRIES || bytes > MOST_BYTES {
        let message =
            format!("a release may have {MOST_ENTRIES} files with {MOST_BYTES} bytes in all");
        return Err(No(Problem::new(Code::TooLarge, message)));
    }
    let missing = blocking(move || api.store.missing(&blobs)).await?;
    Ok(Json(Missing { missing }))
}

pub(crate) async fn put(
    State(api): State<ApiState>,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<StatusCode> {
    // The length is checked before the body is read.
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > MOST_BYTES) {
        return Err(too_large());
    }
    let digest: Digest = digest
        .parse()
        .map_err(|error: model::Invalid| No(Problem::new(Code::Invalid, error.to_string())))?;
    let (pieces, content) = mpsc::channel(IN_HAND);
    let mut content = Content { pieces: content, current: Bytes::new(), ended: false };
    let kept = blocking(move || api.store.put_blob(digest, &mut content));
    let (sent, kept) = tokio::join!(send(body, pieces), kept);
    // If the body broke off or was too long, the store's error only follows from that. The body's error comes
    // first.
    sent?;
    kept?;
    Ok(StatusCode::CREATED)
}

fn too_large() -> No {
    No(Problem::new(Code::TooLarge, format!("a file may have {MOST_BYTES} bytes at most")))
}

/// Passes the body on. The last piece sent is `None`, so that a body that broke off is not mistaken for a
/// shorter one.
async fn send(body: Body, pieces: mpsc::Sender<Option<Bytes>>) -> ApiResult<()> {
    let mut body = body.into_data_stream();
    let (mut size, started) = (0, Instant::now());
    loop {
        let pace = Duration::from_secs(size / BYTES_PER_SECOND);
        let by = (started + STALL + pace).min(Instant::now() + STALL);
        let piece = match tokio::time::timeout_at(by, body.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(_))) => {
                return Err(No(Problem::new(Code::Invalid, "the upload broke off")));
            }
            Ok(None) => break,
            Err(_) => return Err(No(Problem::new(Code::Timeout, "the upload is too slow"))),
        };
        size += piece.len() as u64;
        if size > MOST_BYTES {
            return Err(too_large());
        }
        if pieces.send(Some(piece)).await.is_err() {
            return Ok(()); // the store has given up, and says why
        }
    }
    let _ = pieces.send(None).await;
    Ok(())
}

/// A reader over the pieces of a body.
struct Content {
    pieces: mpsc::Receiver<Option<Bytes>>,
    current: Bytes,
    ended: bool,
}

impl Read for Content {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Some(piece)) => self.current = piece,
                Some(None) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = out.len().min(self.current.len());
        out[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// Returns how long an upload lasts whose client sends this number of bytes every `gap`.
    async fn patience(bytes: usize, gap: Duration) -> Duration {
        let pieces = stream::repeat(()).then(move |()| async move {
            tokio::time::sleep_until(Instant::now() + gap).await;
            Ok::<_, io::Error>(Bytes::from(vec![0; bytes]))
        });
        let (pieces_to, mut taken) = mpsc::channel(IN_HAND);
        let started = Instant::now();
        let reader = tokio::spawn(async move { while taken.recv().await.is_some() {} });
        let sent = send(Body::from_stream(pieces), pieces_to).await;
        assert!(sent.is_err_and(|No(problem)| problem.code == Code::Timeout));
        reader.await.unwrap();
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_stalls_or_trickles_is_given_up() {
        assert_eq!(patience(1, Duration::from_secs(3_600)).await.as_secs(), 60);
        assert_eq!(patience(1_024, Duration::from_secs(10)).await.as_secs(), 60);
        // The rate alone would allow 36 s, and the stall limit adds 60 s: every 64 KiB pay for 4 s of 10 s.
        assert_eq!(patience(64 * 1_024, Duration::from_secs(10)).await.as_secs(), 96);
    }
}
