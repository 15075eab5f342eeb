//! A long response that is read line by line. Each line is one JSON object.

use std::io::{BufRead as _, BufReader, Read as _};
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::client_error::ClientError;

/// The largest length of a line, in bytes. The API sends no longer lines.
const LINE_LIMIT: u64 = 1024 * 1024;

/// An iterator over the lines as they arrive. It ends when the server ends the response. A broken connection
/// is an error.
pub struct JsonLines<T> {
    url: String,
    body: BufReader<ureq::BodyReader<'static>>,
    item: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for JsonLines<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("url", &self.url).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> JsonLines<T> {
    pub(crate) fn new(url: String, body: ureq::Body) -> Self {
        let body = body.into_with_config().limit(u64::MAX).reader();
        Self { url, body: BufReader::new(body), item: PhantomData }
    }

    fn line(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            let mut line = Vec::new();
            let lost = |source| ClientError::Lost { url: self.url.clone(), source };
            let read =
                (&mut self.body).take(LINE_LIMIT).read_until(b'\n', &mut line).map_err(lost)?;
            if read == 0 {
                return Ok(None);
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let item = serde_json::from_slice(&line);
            return item.map(Some).map_err(|source| ClientError::Answer {
                url: self.url.clone(),
                source: source.into(),
            });
        }
    }
}

impl<T: DeserializeOwned> Iterator for JsonLines<T> {
    type Item = Result<T, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line().transpose()
    }
}
