//! Uploads: what is missing, and one blob at a time, streamed in bounded memory.

use std::io::{self, Read};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use model::Digest;
use tokio::sync::mpsc;
use wire::{Code, Missing, Problem, Wanted};

use crate::Parts;
use crate::answer::{Answer, No, Sent, blocking};

/// The largest blob that is taken.
const BLOB_LIMIT: u64 = 64 * 1024 * 1024 * 1024;
/// Pieces of a body that wait for the disk.
const IN_HAND: usize = 4;
/// An upload that stalls for so long is given up.
const STALL: std::time::Duration = std::time::Duration::from_secs(60);

pub(crate) async fn missing(
    State(parts): State<Parts>,
    Sent(Wanted { blobs }): Sent<Wanted>,
) -> Answer<Json<Missing>> {
    let missing = blocking(move || parts.store.missing(&blobs)).await?;
    Ok(Json(Missing { missing }))
}

pub(crate) async fn put(
    State(parts): State<Parts>,
    Path(digest): Path<String>,
    body: Body,
) -> Answer<StatusCode> {
    let digest: Digest = digest
        .parse()
        .map_err(|error: model::Invalid| No(Problem::new(Code::Invalid, error.to_string())))?;
    let (pieces, content) = mpsc::channel(IN_HAND);
    let mut content = Content { pieces: content, current: Bytes::new(), ended: false };
    let kept = blocking(move || parts.store.put_blob(digest, &mut content));
    let (sent, kept) = tokio::join!(send(body, pieces), kept);
    // A body that broke off or was too long is the cause; that the store gave up follows from it.
    sent?;
    kept?;
    Ok(StatusCode::CREATED)
}

/// Hands the body on. The last thing sent is `None`, so that a body that broke off is not taken
/// for a short one.
async fn send(body: Body, pieces: mpsc::Sender<Option<Bytes>>) -> Answer<()> {
    let mut body = body.into_data_stream();
    let mut size = 0;
    loop {
        let piece = match tokio::time::timeout(STALL, body.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(_))) => {
                return Err(No(Problem::new(Code::Invalid, "the upload broke off")));
            }
            Ok(None) => break,
            Err(_) => return Err(No(Problem::new(Code::Timeout, "the upload stalled"))),
        };
        size += piece.len() as u64;
        if size > BLOB_LIMIT {
            let message = format!("a file may have {BLOB_LIMIT} bytes at most");
            return Err(No(Problem::new(Code::TooLarge, message)));
        }
        if pieces.send(Some(piece)).await.is_err() {
            return Ok(()); // the store has given up, and says why
        }
    }
    let _ = pieces.send(None).await;
    Ok(())
}

/// The pieces as a file that can be read.
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
