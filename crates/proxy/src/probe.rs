//! Probes of fixed upstreams, for a proxy that runs alone: once per process, not per worker. The health of managed
//! instances is found by their agent, never from here.

use std::io;
use std::time::Duration;

use http1::{AnswerTo, Progress, ResponseParser, Version};
use model::{Address, Health, HealthCounter, HealthThresholds, Millis, ProbeOutcome};
use tokio::io::AsyncWriteExt;

use crate::buffer::Source;
use crate::stream::InstanceStream;

/// Interval between two probes.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// Time that an upstream with several requests in flight may make no progress and still count as busy.
pub(crate) const BUSY: Millis = Millis::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes read at once.
const ROOM: usize = 4 << 10;
const RISE: u32 = 2;
const FALL: u32 = 3;

/// The results of one upstream's probes so far. The first good probe makes the upstream Up, because a
/// proxy that was just started has nowhere else to send requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeRecord(HealthCounter);

impl Default for ProbeRecord {
    fn default() -> Self {
        Self(HealthCounter::new(HealthThresholds { first_rise: 1, rise: RISE, fall: FALL }))
    }
}

impl ProbeRecord {
    /// Adds one probe. Returns the health that follows. A probe without an answer is bad, unless the
    /// upstream is `busy` with requests of this proxy: then the probe waits where they wait, and does not
    /// count.
    pub(crate) fn add(&mut self, probed: ProbeOutcome, busy: bool) -> Health {
        match probed {
            ProbeOutcome::NoAnswer if busy => self.0.health(),
            ProbeOutcome::NoAnswer | ProbeOutcome::Bad => self.0.count(ProbeOutcome::Bad),
            ProbeOutcome::Good => self.0.count(ProbeOutcome::Good),
        }
    }
}

/// Sends a GET of `path`, which is good if a 2xx comes in time.
pub(crate) async fn probe(address: &Address, path: &str) -> ProbeOutcome {
    let asked = async {
        let stream = InstanceStream::connect(address)?;
        std::future::poll_fn(|cx| stream.poll_connected(cx)).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: segue-probe\r\n\
             Connection: close\r\n\r\n"
        );
        ask(stream, &request).await
    };
    match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(Ok(200..=299)) => ProbeOutcome::Good,
        Ok(Ok(_) | Err(_)) => ProbeOutcome::Bad,
        Err(_) => ProbeOutcome::NoAnswer,
    }
}

/// Sends a request for which no other answer is under way. Returns the status of the answer.
pub(crate) async fn ask(mut stream: InstanceStream, request: &str) -> io::Result<u16> {
    stream.write_all(request.as_bytes()).await?;
    let to = AnswerTo { head: false, upgrade: false, version: Version::Http11 };
    let mut parser = ResponseParser::new();
    let mut input = Vec::new();
    loop {
        input.reserve(ROOM);
        if std::future::poll_fn(|cx| stream.poll_into(cx, &mut input)).await? == 0 {
            return Err(io::Error::other("the connection was closed without an answer"));
        }
        let unreadable = |_| io::Error::other("the answer is not HTTP");
        match parser.parse(&input, to).map_err(unreadable)? {
            Progress::Finished(len) if parser.head().is_interim() => {
                input.drain(..len);
                parser.restart();
            }
            Progress::Finished(_) => return Ok(parser.head().status()),
            Progress::Unfinished => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_three_bad_probes_to_fall_and_two_good_ones_to_rise() {
        let mut record = ProbeRecord::default();
        let probed = |good| if good { ProbeOutcome::Good } else { ProbeOutcome::Bad };
        let said: Vec<_> = [true, false, false, true, false, false, false, true, true]
            .map(|good| record.add(probed(good), false))
            .into();
        let expected =
            [1, 1, 1, 1, 1, 1, 0, 0, 1].map(|up| if up == 1 { Health::Up } else { Health::Down });
        assert_eq!(said, expected);
    }

    #[test]
    fn no_answer_from_a_busy_upstream_says_nothing() {
        let mut record = ProbeRecord::default();
        assert_eq!(record.add(ProbeOutcome::NoAnswer, true), Health::Unknown);
        assert_eq!(record.add(ProbeOutcome::Good, true), Health::Up);
        assert!((0..9).all(|_| record.add(ProbeOutcome::NoAnswer, true) == Health::Up));
        let fall: Vec<_> = (0..3).map(|_| record.add(ProbeOutcome::NoAnswer, false)).collect();
        assert_eq!(fall, [Health::Up, Health::Up, Health::Down]);
        let mut record = ProbeRecord::default();
        record.add(ProbeOutcome::Good, true);
        assert!(
            (0..3).any(|_| record.add(ProbeOutcome::Bad, true) == Health::Down),
            "nobody listens"
        );
    }
}
