//! Notes the fields that are dropped because the proxy that sent them is not configured as trusted. Noted
//! for each app, so that operators hear of it. Never blocks a request: a note that would have to wait is
//! left out.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Interval between warnings in milliseconds, and the time that a warning looks back.
const HOUR_MS: u64 = 3_600_000;
/// The longest field name that is noted, in bytes.
const NAME: usize = 48;

/// The notes of one app.
#[derive(Debug, Default)]
pub(crate) struct Dropped(Mutex<Option<Sender>>);

/// The sender of most requests, as far as that can be told without keeping all senders: a sender seen
/// more often than all others together stays, one seen less often is replaced (Boyer and Moore's majority
/// vote).
#[derive(Debug)]
struct Sender {
    network: Box<str>,
    name: Box<str>,
    votes: u64,
    /// Requests since `since_ms`.
    requests: u64,
    since_ms: u64,
    last_ms: u64,
    /// The time of the last warning.
    warned_ms: Option<u64>,
}

impl Dropped {
    /// Notes that a request from `from` had a field of this name.
    pub(crate) fn note(&self, name: &[u8], from: IpAddr, now_ms: u64) {
        let Ok(mut noted) = self.0.try_lock() else { return };
        let network = Network::of(from);
        match noted.as_mut() {
            Some(sender) if network.is(&sender.network) => {
                if now_ms.saturating_sub(sender.since_ms) >= 2 * HOUR_MS {
                    (sender.requests, sender.since_ms) = (0, now_ms);
                }
                sender.votes += 1;
                sender.requests += 1;
                sender.last_ms = now_ms;
            }
            Some(sender) if sender.votes > 1 => sender.votes -= 1,
            Some(_) | None => {
                let warned_ms = noted.as_ref().and_then(|sender| sender.warned_ms);
                let name = name.get(..NAME).unwrap_or(name);
                *noted = Some(Sender {
                    network: network.text().into(),
                    // The name of a field is ASCII.
                    name: String::from_utf8_lossy(name).into(),
                    votes: 1,
                    requests: 1,
                    since_ms: now_ms,
                    last_ms: now_ms,
                    warned_ms,
                });
            }
        }
    }

    /// Returns the warning to show on request, if such a field came in the last hour.
    pub(crate) fn told(&self, now_ms: u64) -> Option<String> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = noted.as_ref()?;
        (now_ms.saturating_sub(sender.last_ms) < HOUR_MS).then(|| sender.sentence())
    }

    /// Returns the warning to log: at once, and then once an hour if more requests have come.
    pub(crate) fn warning(&self, now_ms: u64) -> Option<String> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = noted.as_mut()?;
        let due = match sender.warned_ms {
            None => true,
            Some(warned_ms) => sender.last_ms > warned_ms && now_ms >= warned_ms + HOUR_MS,
        };
        due.then(|| {
            sender.warned_ms = Some(now_ms);
            let sentence = sender.sentence();
            if now_ms.saturating_sub(sender.since_ms) >= HOUR_MS {
                (sender.requests, sender.since_ms) = (0, now_ms);
            }
            sentence
        })
    }
}

impl Sender {
    fn sentence(&self) -> String {
        let Self { name, network, requests, .. } = self;
        let requests = match requests {
            1 => "1 request".to_owned(),
            count => format!("{} requests", grouped(*count)),
        };
        format!("dropped {name} from {network}, {requests}: name it with --trusted-proxy")
    }
}

/// The place where a proxy may run: the exact address if it is of this machine or a private network. For
/// a service elsewhere, which has many addresses, the network that it probably belongs to.
#[derive(Clone, Copy)]
struct Network(IpAddr);

impl Network {
    fn of(from: IpAddr) -> Self {
        Self(from.to_canonical())
    }

    fn is(self, text: &str) -> bool {
        // Written into a buffer on the stack, because this runs for every such request.
        let mut written = Text::default();
        let _ = write!(written, "{self}");
        written.as_bytes() == text.as_bytes()
    }

    fn text(self) -> String {
        self.to_string()
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(four) if four.is_loopback() || four.is_private() => write!(f, "{four}"),
            IpAddr::V4(four) => {
                let [a, b, ..] = four.octets();
                write!(f, "{a}.{b}.0.0/16")
            }
            IpAddr::V6(six) if six.is_loopback() || six.is_unique_local() => write!(f, "{six}"),
            IpAddr::V6(six) => {
                let [a, b, ..] = six.segments();
                write!(f, "{a:x}:{b:x}::/32")
            }
        }
    }
}

/// Text of at most as many bytes as an address takes.
#[derive(Default)]
struct Text {
    bytes: [[u8; 16]; 3],
    len: usize,
}

impl Text {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes.as_flattened()[..self.len]
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.as_flattened_mut().get_mut(self.len..self.len + text.len());
        room.ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// Returns the number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(dropped: &Dropped, from: &str, now_ms: u64) {
        dropped.note(b"CF-Connecting-IP", from.parse().unwrap(), now_ms);
    }

    #[test]
    fn people_hear_of_it_at_once_and_then_once_an_hour() {
        let dropped = Dropped::default();
        assert_eq!((dropped.told(0), dropped.warning(0)), (None, None));
        note(&dropped, "172.68.9.1", 1_000);
        let one = "dropped CF-Connecting-IP from 172.68.0.0/16, 1 request: \
                   name it with --trusted-proxy";
        assert_eq!(dropped.warning(1_500).as_deref(), Some(one));
        for at in 0..1_203 {
            note(&dropped, "172.68.200.7", 2_000 + at);
        }
        assert_eq!(dropped.warning(1_500 + HOUR_MS - 1), None);
        let many = one.replace("1 request", "1 204 requests");
        assert_eq!(dropped.told(HOUR_MS).as_deref(), Some(&*many));
        assert_eq!(dropped.warning(1_500 + HOUR_MS).as_deref(), Some(&*many));
        assert_eq!(dropped.warning(1_500 + 2 * HOUR_MS), None, "nothing has come since");
        assert_eq!(dropped.told(3_202 + HOUR_MS), None);
        note(&dropped, "172.68.9.1", 1_500 + 2 * HOUR_MS);
        assert_eq!(dropped.warning(1_501 + 2 * HOUR_MS).as_deref(), Some(one));
    }

    #[test]
    fn whoever_sends_most_is_named_and_by_a_network_that_can_be_trusted() {
        let dropped = Dropped::default();
        note(&dropped, "203.0.113.9", 0);
        for from in ["::ffff:10.1.2.3", "10.1.2.3", "198.51.100.1", "10.1.2.3"] {
            note(&dropped, from, 1);
        }
        assert!(dropped.told(2).expect("told").contains(" from 10.1.2.3, "));
        let of = |text: &str| Network::of(text.parse().unwrap()).text();
        assert_eq!(of("2001:db8:1:2::3"), "2001:db8::/32");
        assert_eq!([of("127.0.0.1"), of("::1"), of("fd00::1")], ["127.0.0.1", "::1", "fd00::1"]);
        let longest = "fd00:1111:2222:3333:4444:5555:6666:7777";
        assert!(Network::of(longest.parse().unwrap()).is(longest));
    }
}
