//! The one-time word with which a member joins: where the server is, which authority it has, and a secret
//! that only the two of them know.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::{MemberName, Role};
use serde::{Deserialize, Serialize};

use crate::error::IdentityError;
use crate::fingerprint::Fingerprint;

const PREFIX: &str = "segue-";
/// A longer text is no invite, in bytes.
const MOST: usize = 4096;
/// Addresses of one server.
const MOST_ADDRESSES: usize = 16;
const SECRET: usize = 24;

/// The secret of an invite. Servers keep its fingerprint only.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteSecret([u8; SECRET]);

/// An invite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Where the server's door is, as `HOST:PORT`; at least one.
    pub addresses: Vec<String>,
    /// The fingerprint of the authority's certificate.
    pub authority: Fingerprint,
    /// The role that the member will have.
    pub role: Role,
    /// The member's name.
    pub name: MemberName,
    /// Proves that its bearer was invited.
    pub secret: InviteSecret,
}

/// An invite as text. Shown once, to whoever asked for it.
pub struct InviteText(String);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    at: Vec<String>,
    ca: Fingerprint,
    role: Role,
    name: MemberName,
    secret: String,
}

impl InviteSecret {
    /// A new one: 192 random bits.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// By what a server knows the secret.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }

    /// The secret as text, for the request that proves it.
    pub fn reveal(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl FromStr for InviteSecret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok().and_then(|it| it.try_into().ok());
        bytes.map(Self).ok_or("its secret is damaged")
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSecret(…)")
    }
}

impl Invite {
    /// The invite as the single word that a person carries to the member's machine.
    pub fn to_text(&self) -> InviteText {
        let written = Written {
            at: self.addresses.clone(),
            ca: self.authority,
            role: self.role,
            name: self.name.clone(),
            secret: self.secret.reveal(),
        };
        // Strings and lists of them can always be written as JSON.
        let json = serde_json::to_vec(&written).unwrap_or_default();
        InviteText(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(json)))
    }
}

impl InviteText {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InviteText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteText(…)")
    }
}

impl FromStr for Invite {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let wrong = IdentityError::Invite;
        if text.len() > MOST {
            return Err(wrong("it is too long"));
        }
        let body = text.trim().strip_prefix(PREFIX).ok_or(wrong("it begins otherwise"))?;
        let json = BASE64_URL_SAFE_NO_PAD.decode(body);
        let json = json.map_err(|_| wrong("a part of it is missing or was changed"))?;
        let written = serde_json::from_slice::<Written>(&json);
        let Written { at, ca, role, name, secret } =
            written.map_err(|_| wrong("a part of it is missing or was changed"))?;
        if at.is_empty() || at.len() > MOST_ADDRESSES {
            return Err(wrong("it does not say where the server is"));
        }
        let secret = secret.parse().map_err(wrong)?;
        Ok(Self { addresses: at, authority: ca, role, name, secret })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn invite() -> Invite {
        Invite {
            addresses: vec!["10.0.0.1:7443".into(), "[fd00::1]:7443".into()],
            authority: Fingerprint::of(b"an authority"),
            role: Role::Host,
            name: "web-1".parse().unwrap(),
            secret: InviteSecret::draw().unwrap(),
        }
    }

    #[test]
    fn an_invite_is_one_word_and_comes_back_whole() {
        let invite = invite();
        let text = invite.to_text();
        assert!(text.reveal().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        assert_eq!(text.reveal().parse::<Invite>().unwrap(), invite);
        // As it comes out of a file or a pipe.
        assert_eq!(format!("  {}\n", text.reveal()).parse::<Invite>().unwrap(), invite);
    }

    #[test]
    fn what_was_cut_off_when_it_was_copied_is_no_invite() {
        let whole = invite().to_text();
        for len in 0..whole.reveal().len() {
            let error = whole.reveal()[..len].parse::<Invite>().unwrap_err().to_string();
            assert!(error.starts_with("this is not an invite: "), "{error}");
        }
    }

    #[test]
    fn no_secret_is_printed_for_debugging() {
        let invite = invite();
        let (secret, text) = (invite.secret.reveal(), invite.to_text());
        for shown in [format!("{invite:?}"), format!("{text:?}")] {
            assert!(!shown.contains(&secret) && !shown.contains(text.reveal()), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_invite_or_is_refused(text in "(segue-)?[ -~]{0,300}") {
            let _ = text.parse::<Invite>();
        }
    }
}
