//! The names of fields that tell an app who its client is and how the request came. From a client they
//! are not to be believed, so they are recognised in every spelling that a server may accept. Never looks
//! at a value.
//!
//! docs/forwarding.md lists the claims with the frameworks and services that believe or set them.

/// The treatment of a request's field, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldTrust {
    /// The field is passed on.
    Free,
    /// The field is passed on, and shows that a proxy has passed the request on.
    Proxys,
    /// The field is never passed on: it concerns one connection only, or no sender before this proxy may
    /// set it.
    Dropped,
    /// The field is never passed on: a proxy describes its client with it, and this proxy writes it anew.
    SaidAnew,
    /// Another proxy describes its client with the field. It is passed on if that proxy is trusted.
    Claim,
}

/// The names that begin with one letter.
#[derive(Clone, Copy)]
struct Names {
    dropped: &'static [&'static [u8]],
    /// Prefixes of dropped names.
    dropped_from: &'static [&'static [u8]],
    said_anew: &'static [&'static [u8]],
    claims: &'static [&'static [u8]],
    claims_from: &'static [&'static [u8]],
    /// Prefixes of names that are passed on, and show that a proxy has passed the request on.
    proxys_from: &'static [&'static [u8]],
}

const NONE: Names = Names {
    dropped: &[],
    dropped_from: &[],
    said_anew: &[],
    claims: &[],
    claims_from: &[],
    proxys_from: &[],
};

const A: Names = Names { claims: &[b"ali-cdn-real-ip"], ..NONE };
const C: Names = Names {
    dropped: &[b"content-length", b"connection"],
    dropped_from: &[b"client-cert"],
    claims: &[
        b"client-ip",
        b"cf-connecting-ip",
        b"cf-connecting-ipv6",
        b"cf-pseudo-ipv4",
        b"cf-visitor",
        b"cdn-src-ip",
        b"cloudfront-forwarded-proto",
        b"cloudfront-viewer-address",
        b"cluster-client-ip",
        b"coming-from",
    ],
    claims_from: &[b"cf-access-authenticated-user-"],
    ..NONE
};
const D: Names = Names { claims: &[b"do-connecting-ip"], ..NONE };
const E: Names = Names { dropped: &[b"expect"], ..NONE };
const F: Names = Names {
    said_anew: &[b"forwarded"],
    claims: &[
        b"fastly-client-ip",
        b"fastly-ssl",
        b"fly-client-ip",
        b"fly-forwarded-port",
        b"fly-forwarded-proto",
        b"fly-forwarded-ssl",
        b"forwarded-for",
        b"forwarded-for-ip",
        b"forwarded-proto",
        b"front-end-https",
    ],
    ..NONE
};
const H: Names = Names { dropped: &[b"http2-settings", b"host"], ..NONE };
const I: Names =
    Names { claims: &[b"incap-client-ip", b"iv-user", b"iv-groups", b"iv-creds"], ..NONE };
const K: Names = Names { dropped: &[b"keep-alive"], ..NONE };
const O: Names = Names { claims_from: &[b"oidc-", b"oam-"], ..NONE };
const P: Names = Names {
    dropped: &[b"proxy", b"proxy-connection", b"proxy-auth-cert"],
    claims: &[b"proxy-client-ip"],
    ..NONE
};
const R: Names = Names {
    claims: &[b"remote-addr", b"remote-user", b"remote-name", b"remote-email", b"remote-groups"],
    ..NONE
};
const S: Names = Names { dropped_from: &[b"ssl-client"], claims_from: &[b"shib-", b"sm-"], ..NONE };
const T: Names = Names {
    dropped: &[b"te", b"transfer-encoding"],
    claims: &[b"true-client-ip"],
    claims_from: &[b"tailscale-user-"],
    ..NONE
};
const U: Names = Names { dropped: &[b"upgrade"], ..NONE };
/// `Via` is the only such name in use.
const V: Names = Names { proxys_from: &[b"via"], ..NONE };
const W: Names =
    Names { dropped: &[b"wl-proxy-client-cert"], claims_from: &[b"wl-proxy-"], ..NONE };
// Names that begin with `x-`, by the letter behind that, which distinguishes most fields in use.
const XA: Names = Names {
    dropped_from: &[b"x-amzn-mtls-", b"x-arr-clientcert"],
    claims: &[
        b"x-arr-ssl",
        b"x-appengine-user-ip",
        b"x-appengine-remote-addr",
        b"x-azure-clientip",
        b"x-azure-socketip",
        b"x-authenticated-user",
        b"x-authenticated-userid",
        b"x-accel-mapping",
    ],
    claims_from: &[b"x-amzn-oidc-", b"x-auth-request-", b"x-authentik-"],
    ..NONE
};
const XC: Names = Names {
    dropped: &[b"x-client-verify", b"x-client-dn"],
    dropped_from: &[b"x-client-cert", b"x-clientcert"],
    claims: &[b"x-client-ip", b"x-cluster-client-ip", b"x-coming-from", b"x-credential-identifier"],
    claims_from: &[b"x-consumer-"],
    ..NONE
};
const XE: Names = Names { claims: &[b"x-envoy-external-address", b"x-envoy-internal"], ..NONE };
const XF: Names = Names {
    said_anew: &[
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-server",
    ],
    proxys_from: &[b"x-forwarded-"],
    dropped: &[b"x-forwarded-client-cert"],
    dropped_from: &[b"x-forwarded-tls-client-"],
    claims: &[
        b"x-forwarded-ssl",
        b"x-forwarded-https",
        b"x-forwarded-scheme",
        b"x-forwarded-protocol",
        b"x-forwarded",
        b"x-forwarded-method",
        b"x-forwarded-uri",
        b"x-forwarded-user",
        b"x-forwarded-email",
        b"x-forwarded-groups",
        b"x-forwarded-preferred-username",
        b"x-forwarded-access-token",
    ],
    ..NONE
};
const XG: Names = Names { claims_from: &[b"x-goog-authenticated-user-"], ..NONE };
const XH: Names = Names { claims: &[b"x-host", b"x-http-host-override"], ..NONE };
const XM: Names = Names { claims_from: &[b"x-ms-client-principal", b"x-ms-token-"], ..NONE };
const XN: Names = Names { claims: &[b"x-nf-client-connection-ip"], ..NONE };
const XO: Names = Names {
    dropped: &[b"x-original-url"],
    claims: &[
        b"x-original-forwarded-for",
        b"x-originating-ip",
        b"x-original-host",
        b"x-original-uri",
        b"x-original-method",
    ],
    ..NONE
};
const XP: Names =
    Names { claims: &[b"x-proxyuser-ip"], claims_from: &[b"x-pomerium-claim-"], ..NONE };
const XR: Names = Names {
    said_anew: &[b"x-real-ip"],
    dropped: &[b"x-rewrite-url"],
    claims: &[
        b"x-remote-addr",
        b"x-remote-ip",
        b"x-remote-user",
        b"x-remote-group",
        b"x-remote-groups",
        b"x-remote-name",
        b"x-remote-email",
    ],
    claims_from: &[b"x-remote-extra-"],
    ..NONE
};
const XS: Names = Names {
    dropped_from: &[b"x-segue-", b"x-ssl-client"],
    claims: &[b"x-scheme", b"x-sucuri-clientip", b"x-script-name", b"x-sendfile-type", b"x-ssl"],
    ..NONE
};
const XT: Names = Names {
    dropped_from: &[b"x-tls-client-"],
    claims: &[b"x-token-subject"],
    claims_from: &[b"x-token-user-"],
    ..NONE
};
const XU: Names = Names { claims: &[b"x-url-scheme", b"x-userinfo"], ..NONE };
const XV: Names = Names {
    claims: &[b"x-vercel-forwarded-for", b"x-vercel-proxied-for", b"x-vercel-ip"],
    claims_from: &[b"x-vouch-"],
    ..NONE
};
const XW: Names = Names { claims_from: &[b"x-webauth-"], ..NONE };

/// A filter that most other names fail: for each first letter, a bit for each length and for each second
/// letter of a known name.
#[derive(Clone, Copy)]
struct Known {
    lengths: u64,
    seconds: u32,
}

static KNOWN: [Known; 32] = {
    let mut known = [Known { lengths: 0, seconds: 0 }; 32];
    let mut at = 0;
    while at < PLAIN.len() {
        let lists = [PLAIN[at].dropped, PLAIN[at].said_anew, PLAIN[at].claims];
        let beginnings = [PLAIN[at].dropped_from, PLAIN[at].claims_from, PLAIN[at].proxys_from];
        let mut list = 0;
        while list < 3 {
            known = with(known, lists[list], false);
            known = with(known, beginnings[list], true);
            list += 1;
        }
        at += 1;
    }
    // Names that begin with `x-` are always compared in full.
    known[place(b'x')] = Known { lengths: u64::MAX, seconds: u32::MAX };
    known
};

/// All names except those that begin with `x-`.
const PLAIN: [Names; 16] = [A, C, D, E, F, H, I, K, O, P, R, S, T, U, V, W];

const fn with(mut known: [Known; 32], names: &[&[u8]], are_beginnings: bool) -> [Known; 32] {
    let mut at = 0;
    while at < names.len() {
        let (name, known) = (names[at], &mut known[place(names[at][0])]);
        known.lengths |= if are_beginnings { u64::MAX << name.len() } else { 1 << name.len() };
        known.seconds |= 1 << place(name[1]);
        at += 1;
    }
    known
}

/// Returns the index of a letter, the same for upper and lower case. Other bytes share the indices; they
/// are told apart later.
const fn place(byte: u8) -> usize {
    (byte & 0x1f) as usize
}

/// Returns the treatment of a field with this name.
#[inline]
pub(crate) fn standing(name: &[u8]) -> FieldTrust {
    let (Some(&first), Some(&second)) = (name.first(), name.get(1)) else {
        return FieldTrust::Free;
    };
    let known = KNOWN[place(first)];
    // No known name has 63 bytes.
    let has_length = known.lengths >> name.len().min(63) & 1 == 1;
    if !has_length || known.seconds >> place(second) & 1 == 0 {
        return FieldTrust::Free;
    }
    look_up(name)
}

fn look_up(name: &[u8]) -> FieldTrust {
    let names = match name.first().map(u8::to_ascii_lowercase) {
        Some(b'a') => &A,
        Some(b'c') => &C,
        Some(b'd') => &D,
        Some(b'e') => &E,
        Some(b'f') => &F,
        Some(b'h') => &H,
        Some(b'i') => &I,
        Some(b'k') => &K,
        Some(b'o') => &O,
        Some(b'p') => &P,
        Some(b'r') => &R,
        Some(b's') => &S,
        Some(b't') => &T,
        Some(b'u') => &U,
        Some(b'v') => &V,
        Some(b'w') => &W,
        Some(b'x') => of_x(name),
        Some(_) | None => &NONE,
    };
    let is_among = |names: &[&[u8]]| names.iter().any(|known| same(name, known));
    let begins = |names: &[&[u8]]| names.iter().any(|known| starts(name, known));
    if is_among(names.said_anew) {
        FieldTrust::SaidAnew
    } else if is_among(names.dropped) || begins(names.dropped_from) {
        FieldTrust::Dropped
    } else if is_among(names.claims) || begins(names.claims_from) {
        FieldTrust::Claim
    } else if begins(names.proxys_from) {
        FieldTrust::Proxys
    } else {
        FieldTrust::Free
    }
}

/// Returns the names that begin with `x-` and the letter behind that.
fn of_x(name: &[u8]) -> &'static Names {
    match name.get(2).map(u8::to_ascii_lowercase) {
        Some(b'a') => &XA,
        Some(b'c') => &XC,
        Some(b'e') => &XE,
        Some(b'f') => &XF,
        Some(b'g') => &XG,
        Some(b'h') => &XH,
        Some(b'm') => &XM,
        Some(b'n') => &XN,
        Some(b'o') => &XO,
        Some(b'p') => &XP,
        Some(b'r') => &XR,
        Some(b's') => &XS,
        Some(b't') => &XT,
        Some(b'u') => &XU,
        Some(b'v') => &XV,
        Some(b'w') => &XW,
        Some(_) | None => &NONE,
    }
}

/// Returns whether `Connection` may not list the name, because removing the field would change whose
/// request it is or where the request ends.
pub(crate) fn is_essential(name: &[u8]) -> bool {
    const ESSENTIAL: [&[u8]; 4] = [b"host", b"content-length", b"transfer-encoding", b"expect"];
    ESSENTIAL.iter().any(|known| same(name, known))
        || matches!(standing(name), FieldTrust::SaidAnew)
}

/// Returns whether the names are equal once letters are lower case and every byte that is neither letter
/// nor digit is read as `-`. CGI, WSGI and PHP turn `-` into `_`, and some servers turn dots and other
/// bytes into it, too.
fn same(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len() && starts(name, known)
}

fn starts(name: &[u8], known: &[u8]) -> bool {
    let like = |(a, b): (&u8, &u8)| match a.is_ascii_alphanumeric() {
        true => a.to_ascii_lowercase() == *b,
        false => *b == b'-',
    };
    name.len() >= known.len() && name.iter().zip(known).all(like)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_however_they_are_written() {
        for name in ["X-Forwarded-Ssl", "x_forwarded_ssl", "X.Forwarded-SSL", "x~forwarded!ssl"] {
            assert_eq!(standing(name.as_bytes()), FieldTrust::Claim, "{name}");
        }
        for name in ["X.Forwarded.For", "x-real_IP", "FORWARDED"] {
            assert_eq!(standing(name.as_bytes()), FieldTrust::SaidAnew, "{name}");
            assert!(is_essential(name.as_bytes()), "{name}");
        }
        for name in ["Content.Length", "proxy", "X-Segue-Hops", "SSL.Client.Verify"] {
            assert_eq!(standing(name.as_bytes()), FieldTrust::Dropped, "{name}");
        }
        for name in ["CF-Access-Authenticated-User-Email", "OIDC_CLAIM_email", "Shib-Session-ID"] {
            assert_eq!(standing(name.as_bytes()), FieldTrust::Claim, "{name}");
        }
        for name in ["WL-Proxy-Client-Cert", "X_Client_Verify", "X-TLS-Client-Cert"] {
            assert_eq!(standing(name.as_bytes()), FieldTrust::Dropped, "{name}");
        }
        for name in [
            "X-Access-Token",
            "CF-Access-Client-Id",
            "X-Auth-Token",
            "X-Api-Key",
            "Origin",
            "Smile",
        ] {
            assert_eq!(standing(name.as_bytes()), FieldTrust::Free, "{name}");
        }
        for name in ["Accept", "X-Requested-With", "Client-IPs", "X-Forwarde-For", "", "-", "Vi"] {
            assert_eq!(standing(name.as_bytes()), FieldTrust::Free, "{name}");
        }
        for name in ["via", "X-Forwarded-Anything"] {
            assert_eq!(standing(name.as_bytes()), FieldTrust::Proxys, "{name}");
        }
    }

    #[test]
    fn every_name_stands_with_its_letter() {
        let all = PLAIN.iter().zip("acdefhikoprstuvw".bytes().map(|letter| [letter, 0]));
        let x = [&XA, &XC, &XE, &XF, &XG, &XH, &XM, &XN, &XO, &XP, &XR, &XS, &XT, &XU, &XV, &XW];
        let x = x.into_iter().zip("acefghmnoprstuvw".bytes().map(|letter| [b'x', letter]));
        for (names, letters) in all.chain(x) {
            let Names { dropped, dropped_from, said_anew, claims, claims_from, .. } = names;
            let all = [dropped, dropped_from, said_anew, claims, claims_from];
            for name in all.iter().flat_map(|list| list.iter()) {
                assert_eq!(name[0], letters[0], "{}", name.escape_ascii());
                assert!(letters[1] == 0 || name[2] == letters[1], "{}", name.escape_ascii());
                assert!(name.len() < 63, "{}", name.escape_ascii());
                let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
                assert!(name.iter().all(plain), "{}", name.escape_ascii());
                assert_ne!(standing(name), FieldTrust::Free, "{}", name.escape_ascii());
            }
        }
    }
}
