//! Members of a fleet by role and name, as a certificate spells them.

use std::fmt;
use std::str::FromStr;

use model::{MemberName, Role};

const SCHEME: &str = "segue://";

/// A fleet, by a number drawn when its authority is made: two fleets never take each other's members.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FleetId([u8; 16]);

impl FleetId {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for FleetId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "its fleet is not 32 hexadecimal digits";
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_hex) {
            return Err(wrong);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| wrong)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIdentity {
    /// The fleet.
    pub fleet: FleetId,
    /// The role of the member.
    pub role: Role,
    /// The member's name, which no other member of any role has.
    pub name: MemberName,
}

/// As the one URI of a certificate: `segue://FLEET/ROLE/NAME`.
impl fmt::Display for MemberIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fleet, role, name } = self;
        write!(f, "{SCHEME}{fleet}/{role}/{name}")
    }
}

impl FromStr for MemberIdentity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix(SCHEME).ok_or("its URI is not one of segue")?;
        let mut parts = path.split('/');
        let (Some(fleet), Some(role), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("its URI is not fleet, role and name");
        };
        let name = name.parse().map_err(|_| "its name is not one of a member")?;
        Ok(Self { fleet: fleet.parse()?, role: role.parse()?, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_who_somebody_is_and_nothing_else_does() {
        let identity = MemberIdentity {
            fleet: FleetId([0xab; 16]),
            role: Role::Proxy,
            name: "lb-1".parse().unwrap(),
        };
        let uri = identity.to_string();
        assert_eq!(uri, "segue://abababababababababababababababab/proxy/lb-1");
        assert_eq!(uri.parse(), Ok(identity));
        let fleet = "ab".repeat(16);
        for wrong in [
            format!("https://{fleet}/proxy/lb-1"),
            format!("segue://{fleet}/proxy/lb-1/more"),
            format!("segue://{fleet}/proxy"),
            format!("segue://{fleet}/admin/lb-1"),
            format!("segue://{fleet}/proxy/LB 1"),
            format!("segue://{}/proxy/lb-1", fleet.to_uppercase()),
            format!("segue://+{}/proxy/lb-1", "a".repeat(31)),
            format!("segue://{fleet}ab/proxy/lb-1"),
        ] {
            assert!(wrong.parse::<MemberIdentity>().is_err(), "{wrong}");
        }
    }
}
