//! Decides which users get the candidate: by the cohort first, then by the user key, then by chance. Uses
//! only what a request says of its user, never load, and always decides the same for the same user.

use std::net::IpAddr;
use std::slice::from_ref;

use balance::{Bucket, choose_split};
use http1::RequestHead;
use model::{Affinity, AppName, AppSection, Cohort, Mark, Network, RolloutId, Share};

use crate::signing::{Keyring, Subject};
use crate::whence::Whence;

/// One app's traffic split, prepared for use.
#[derive(Debug)]
pub(crate) struct SplitEntry {
    app: AppName,
    rollout: RolloutId,
    /// The candidate's index among the arms.
    candidate: usize,
    share: Share,
    affinity: Affinity,
    cohort: Option<Cohort>,
    /// Salt that divides the users of each rollout differently. It depends on nothing that could change
    /// during the rollout: not on the keys, so that renewing them moves no user, nor on a process.
    salt: [u8; 32],
    user_cookie: Box<[u8]>,
    cohort_cookie: Box<[u8]>,
}

/// The key by which a user is recognised: the random number in the cookie, or 128 bits made from the
/// user's address or header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserKey([u8; 16]);

/// The user of a request, by its head. Kept with the request, which may have to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    rollout: RolloutId,
    key: Option<UserKey>,
    in_cohort: bool,
    /// True if the cookie with the user key has to be set.
    sets_key: bool,
    /// True if the cookie that keeps the user in the cohort has to be set.
    sets_cohort: bool,
}

/// A request whose user is to be recognised, and the data needed for that.
pub(crate) struct Asked<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) input: &'a [u8],
    pub(crate) from: Whence,
    /// The networks that the proxy trusts.
    pub(crate) trusted: &'a [Network],
    pub(crate) keyring: &'a Keyring,
    pub(crate) random: &'a dyn Fn() -> u64,
    pub(crate) now_s: u64,
}

impl SplitEntry {
    /// Returns `None` if the section has no split, or its candidate gets no requests.
    pub(crate) fn new(section: &AppSection) -> Option<Self> {
        let split = section.split.as_ref()?;
        let candidate = section.arms.iter().position(|arm| arm.release == split.candidate)?;
        let app = section.app.clone();
        let mut material = app.as_str().as_bytes().to_vec();
        material.push(0);
        material.extend(split.rollout.0.to_le_bytes());
        Some(Self {
            rollout: split.rollout,
            candidate,
            share: section.arms[candidate].share,
            affinity: section.route.affinity.clone(),
            cohort: split.cohort.clone(),
            salt: blake3::derive_key("segue 2026 buckets of a rollout v1", &material),
            user_cookie: format!("__segue_{app}").into_bytes().into(),
            // Names of apps contain no dot.
            cohort_cookie: format!("__segue_{app}.cohort").into_bytes().into(),
            app,
        })
    }

    /// Recognises the user from the request's head. Allocates nothing.
    pub(crate) fn recognise(&self, asked: &Asked<'_>) -> User {
        let mut user = User {
            rollout: self.rollout,
            key: None,
            in_cohort: false,
            sets_key: false,
            sets_cohort: false,
        };
        self.find_key(asked, &mut user);
        self.find_cohort(asked, &mut user);
        user
    }

    fn find_key(&self, asked: &Asked<'_>, user: &mut User) {
        match &self.affinity {
            Affinity::Cookie => {
                let mut ours = asked.head.own_cookies(asked.input, &self.user_cookie);
                let open = |text| asked.keyring.open(Subject::User(&self.app), text, asked.now_s);
                let opened = ours.find_map(open);
                // The number has to be unique, not secret. The seal protects the cookie.
                let draw = || (u128::from((asked.random)()) << 64) | u128::from((asked.random)());
                let payload = opened.map_or_else(|| draw().to_be_bytes(), |o| o.payload);
                user.sets_key = opened.is_none_or(|opened| opened.aged);
                user.key = Some(UserKey(payload));
            }
            Affinity::ClientIp => user.key = Some(UserKey::of_address(asked.from.ip)),
            Affinity::Header(name) => {
                let mut values = asked.head.values(asked.input, name.as_bytes());
                user.key = values.find(|value| !value.is_empty()).map(UserKey::of_value);
            }
            Affinity::None => {}
        }
    }

    fn find_cohort(&self, asked: &Asked<'_>, user: &mut User) {
        let input = asked.input;
        let Some(Cohort { mark, public }) = &self.cohort else { return };
        let counts = || *public || asked.from.is_in(asked.trusted);
        user.in_cohort = match mark {
            Mark::Header { name, value } if counts() => {
                asked.head.values(input, name.as_bytes()).any(|found| found == value.as_bytes())
            }
            Mark::Cookie { name, value } if counts() => {
                asked.head.cookies(input, name.as_bytes()).any(|found| found == value.as_bytes())
            }
            Mark::Query { name, value } if counts() => {
                let subject = Subject::Cohort(&self.app, self.rollout);
                let mut ours = asked.head.own_cookies(input, &self.cohort_cookie);
                let kept =
                    ours.find_map(|text| asked.keyring.open::<0>(subject, text, asked.now_s));
                let asks = has_parameter(asked.head.target(input), name, value);
                user.sets_cohort = match kept {
                    Some(kept) => kept.aged,
                    None => asks,
                };
                asks || kept.is_some()
            }
            Mark::Header { .. } | Mark::Cookie { .. } | Mark::Query { .. } => false,
            Mark::Network(network) => asked.from.is_in(from_ref(network)),
        };
    }

    /// Returns the arm of a user. A user without a cookie from before the split is recognised by the
    /// address, or not at all.
    pub(crate) fn choose(
        &self,
        user: Option<&User>,
        from: Whence,
        shares: impl DoubleEndedIterator<Item = Share> + ExactSizeIterator,
        random: u64,
    ) -> Option<usize> {
        let mark = self.cohort.as_ref().map(|cohort| &cohort.mark);
        let in_cohort = match (user, mark) {
            (Some(user), _) if user.rollout == self.rollout => user.in_cohort,
            (_, Some(Mark::Network(network))) => from.is_in(from_ref(network)),
            (Some(_) | None, _) => false,
        };
        if in_cohort {
            return Some(self.candidate);
        }
        let key = user.and_then(|user| user.key).or_else(|| match self.affinity {
            Affinity::ClientIp => Some(UserKey::of_address(from.ip)),
            Affinity::Cookie | Affinity::Header(_) | Affinity::None => None,
        });
        let bucket = Bucket::of(key.map_or(random, |key| self.hash(key)));
        choose_split(shares, self.candidate, self.share, bucket)
    }

    fn hash(&self, key: UserKey) -> u64 {
        let hash = blake3::keyed_hash(&self.salt, &key.0);
        let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(first)
    }

    /// Returns the `Set-Cookie` lines for an answer to the user, mostly none. The key is set only while
    /// it makes a difference.
    pub(crate) fn cookies(&self, user: &User, keyring: &Keyring, now_s: u64) -> Vec<u8> {
        let mut lines = Vec::new();
        let divided = self.share > Share::NONE && self.share < Share::ALL;
        if let (true, true, Some(key)) = (user.sets_key, divided, user.key) {
            let subject = Subject::User(&self.app);
            line(&mut lines, &self.user_cookie, subject, &key.0, keyring, now_s);
        }
        if user.sets_cohort && user.rollout == self.rollout {
            let subject = Subject::Cohort(&self.app, self.rollout);
            line(&mut lines, &self.cohort_cookie, subject, &[], keyring, now_s);
        }
        lines
    }
}

impl User {
    /// Returns whether a cookie has to be set.
    pub(crate) fn has_news(&self) -> bool {
        self.sets_key || self.sets_cohort
    }
}

/// Returns a hash of what identifies a user without cookies: the address, or a header. `None` for
/// cookies.
pub(crate) fn known_by(
    affinity: &Affinity,
    head: &RequestHead,
    input: &[u8],
    client: IpAddr,
) -> Option<u64> {
    let key = match affinity {
        Affinity::ClientIp => UserKey::of_address(client),
        Affinity::Header(name) => {
            let mut values = head.values(input, name.as_bytes());
            UserKey::of_value(values.find(|value| !value.is_empty())?)
        }
        Affinity::Cookie | Affinity::None => return None,
    };
    let (one, other) = key.0.split_at(8);
    let half = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    Some(half(one) ^ half(other))
}

impl UserKey {
    /// Takes only the /64 network of an IPv6 address, because browsers change the rest often.
    fn of_address(address: IpAddr) -> Self {
        let mut bytes = match address.to_canonical() {
            IpAddr::V4(four) => return Self(four.to_ipv6_mapped().octets()),
            IpAddr::V6(six) => six.octets(),
        };
        bytes[8..].fill(0);
        Self(bytes)
    }

    fn of_value(value: &[u8]) -> Self {
        let hash = blake3::hash(value);
        Self(hash.as_bytes().first_chunk().copied().unwrap_or_default())
    }
}

fn line(
    lines: &mut Vec<u8>,
    name: &[u8],
    subject: Subject<'_>,
    payload: &[u8],
    keyring: &Keyring,
    now_s: u64,
) {
    lines.extend_from_slice(b"Set-Cookie: ");
    lines.extend_from_slice(name);
    lines.push(b'=');
    keyring.write(subject, payload, now_s, lines);
    lines.extend_from_slice(b"; Path=/");
    if subject.outlives_the_session() {
        lines.extend_from_slice(format!("; Max-Age={}", subject.life_s()).as_bytes());
    }
    lines.extend_from_slice(b"; HttpOnly; SameSite=Lax\r\n");
}

/// Returns whether the query has this parameter with this value, in the encoding of forms.
fn has_parameter(target: &[u8], name: &str, value: &str) -> bool {
    let Some(start) = target.iter().position(|&b| b == b'?') else { return false };
    target[start + 1..].split(|&b| b == b'&').any(|pair| {
        let end = pair.iter().position(|&b| b == b'=').unwrap_or(pair.len());
        let given = pair.get(end + 1..).unwrap_or_default();
        reads(&pair[..end], name.as_bytes()) && reads(given, value.as_bytes())
    })
}

/// Returns whether `encoded` decodes to `text`, without decoding it into memory.
fn reads(mut encoded: &[u8], text: &[u8]) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for &expected in text {
        let (byte, rest) = match encoded {
            [b'%', high, low, rest @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => ((high * 16 + low) as u8, rest),
                (_, _) => (b'%', &encoded[1..]),
            },
            [b'+', rest @ ..] => (b' ', rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => return false,
        };
        if byte != expected {
            return false;
        }
        encoded = rest;
    }
    encoded.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_however_they_are_written() {
        for (target, found) in [
            ("/?team=q+a", true),
            ("/?a=b&team=q%20a", true),
            ("/?t%65am=q%20a&", true),
            ("/?team=q%20", false),
            ("/?team=q%20ab", false),
            ("/?xteam=q+a", false),
            ("/team=q+a", false),
            ("/?team", false),
            ("/?team=%", false),
        ] {
            assert_eq!(has_parameter(target.as_bytes(), "team", "q a"), found, "{target}");
        }
        assert!(has_parameter(b"/?new", "new", ""));
        assert!(has_parameter(b"/?n=100%", "n", "100%"));
    }

    #[test]
    fn an_address_is_one_user_however_it_is_written_and_a_v6_network_is_one() {
        let key = |text: &str| UserKey::of_address(text.parse().unwrap());
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::5"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::5"), key("2001:db8:1:3::5"));
    }
}
