//! The keys that seal the proxy's own cookies. Checks whether a cookie is genuine and reads its payload;
//! never decides which release a user gets.

use std::fmt;

use model::{AppName, RolloutId};

/// A secret that seals the proxy's own cookies. All workers, proxies and upgrades share it.
#[derive(Clone, PartialEq, Eq)]
pub struct AffinityKey([u8; 32]);

impl AffinityKey {
    /// Returns the key made of these bytes, which must be kept secret.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns a random key that only this process knows.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for AffinityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AffinityKey(..)")
    }
}

const SEAL: usize = 16;
const EXPIRY: usize = 8;
/// The length of the longest token in bytes. Its text has twice as many letters.
const LONGEST: usize = 16 + EXPIRY + SEAL;

/// The subject of a cookie. A cookie for another subject is invalid.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// A user of an app.
    User(&'a AppName),
    /// Membership in the cohort of one rollout.
    Cohort(&'a AppName, RolloutId),
}

impl Subject<'_> {
    /// Returns how long such a cookie is valid, in seconds.
    pub(crate) const fn life_s(self) -> u64 {
        match self {
            Self::User(_) => 30 * 24 * 3600,
            Self::Cohort(..) => 24 * 3600,
        }
    }

    /// Returns whether a browser keeps such a cookie after it is closed.
    pub(crate) const fn outlives_the_session(self) -> bool {
        match self {
            Self::User(_) => true,
            Self::Cohort(..) => false,
        }
    }

    /// Feeds the hash, differently for any two subjects: names of apps contain no zero byte.
    fn feed(self, hasher: &mut blake3::Hasher) {
        match self {
            Self::User(app) => hasher.update(b"user\0").update(app.as_str().as_bytes()),
            Self::Cohort(app, rollout) => hasher
                .update(b"cohort\0")
                .update(&rollout.0.to_le_bytes())
                .update(app.as_str().as_bytes()),
        };
        hasher.update(b"\0");
    }
}

/// The content of a valid cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened<const N: usize> {
    pub(crate) payload: [u8; N],
    /// True if the cookie should be renewed: an older key sealed it, or most of its life is over.
    pub(crate) aged: bool,
}

/// The keys in use. The first one seals, all of them open.
#[derive(Debug)]
pub(crate) struct Keyring(Vec<AffinityKey>);

impl Keyring {
    pub(crate) fn new(keys: &[AffinityKey]) -> Self {
        let derive = |key: &AffinityKey| {
            AffinityKey(blake3::derive_key("segue 2026 seals of the proxy's cookies v1", &key.0))
        };
        Self(keys.iter().map(derive).collect())
    }

    /// Seals `payload` as a cookie's value, valid for the life of its subject.
    pub(crate) fn write(
        &self,
        subject: Subject<'_>,
        payload: &[u8],
        now_s: u64,
        out: &mut Vec<u8>,
    ) {
        let Some(key) = self.0.first() else { return };
        let expiry = now_s.saturating_add(subject.life_s()).to_be_bytes();
        hex(payload, out);
        hex(&expiry, out);
        hex(&seal(key, subject, payload, expiry), out);
    }

    /// Opens a cookie's value. Returns `None` if it is forged, expired, for another subject or malformed.
    pub(crate) fn open<const N: usize>(
        &self,
        subject: Subject<'_>,
        text: &[u8],
        now_s: u64,
    ) -> Option<Opened<N>> {
        let mut bytes = [0; LONGEST];
        let bytes = bytes.get_mut(..N + EXPIRY + SEAL)?;
        unhex(text, bytes)?;
        let (payload, rest) = bytes.split_first_chunk::<N>()?;
        let (expiry, sealed) = rest.split_first_chunk::<EXPIRY>()?;
        let left_s = u64::from_be_bytes(*expiry).checked_sub(now_s).filter(|left| *left > 0)?;
        let by = |key: &AffinityKey| same(&seal(key, subject, payload, *expiry), sealed);
        let at = self.0.iter().position(by)?;
        let aged = at > 0 || left_s < subject.life_s() / 2;
        Some(Opened { payload: *payload, aged })
    }
}

fn seal(
    key: &AffinityKey,
    subject: Subject<'_>,
    payload: &[u8],
    expiry: [u8; EXPIRY],
) -> [u8; SEAL] {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    subject.feed(&mut hasher);
    hasher.update(payload).update(&expiry);
    let mut sealed = [0; SEAL];
    hasher.finalize_xof().fill(&mut sealed);
    sealed
}

/// Compares in constant time, whatever the position of a difference.
fn same(left: &[u8; SEAL], right: &[u8]) -> bool {
    right.len() == SEAL && left.iter().zip(right).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    out.extend(bytes.iter().flat_map(digits));
}

fn unhex(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != bytes.len() * 2 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn app(name: &str) -> AppName {
        name.parse().unwrap()
    }

    fn ring(keys: &[u8]) -> Keyring {
        let keys: Vec<_> = keys.iter().map(|byte| AffinityKey::new([*byte; 32])).collect();
        Keyring::new(&keys)
    }

    fn cookie(ring: &Keyring, subject: Subject<'_>) -> Vec<u8> {
        let mut text = Vec::new();
        ring.write(subject, &[7; 16], NOW, &mut text);
        text
    }

    #[test]
    fn a_cookie_is_good_for_its_subject_its_life_and_its_keys_only() {
        let (web, other) = (app("web"), app("web2"));
        let subject = Subject::User(&web);
        let text = cookie(&ring(&[1]), subject);
        let open = |keys: &[u8], subject, text: &[u8], now| {
            ring(keys).open::<16>(subject, text, now).map(|opened| (opened.payload, opened.aged))
        };
        assert_eq!(open(&[1], subject, &text, NOW), Some(([7; 16], false)));
        assert_eq!(open(&[2, 1], subject, &text, NOW), Some(([7; 16], true)));
        let life = subject.life_s();
        assert_eq!(open(&[1], subject, &text, NOW + life - 1), Some(([7; 16], true)));
        assert_eq!(open(&[1], subject, &text, NOW + life), None);
        assert_eq!(open(&[2], subject, &text, NOW), None);
        assert_eq!(open(&[1], Subject::User(&other), &text, NOW), None);
        assert_eq!(open(&[1], Subject::Cohort(&web, RolloutId(1)), &text, NOW), None);
        assert_eq!(open(&[1], subject, b"", NOW), None);
        assert_eq!(open(&[], subject, &text, NOW), None);
    }

    #[test]
    fn every_changed_letter_makes_it_worthless() {
        let web = app("web");
        let mut text = cookie(&ring(&[1]), Subject::User(&web));
        for at in 0..text.len() {
            let before = text[at];
            for forged in [b'0', b'f', b'F', b'g', b' ', 0xff] {
                text[at] = forged;
                let opened = ring(&[1]).open::<16>(Subject::User(&web), &text, NOW);
                assert_eq!(opened.is_some(), forged == before, "{forged} at {at}");
            }
            text[at] = before;
        }
    }

    #[test]
    fn keys_are_never_printed() {
        assert_eq!(format!("{:?}", AffinityKey::new([7; 32])), "AffinityKey(..)");
    }
}
