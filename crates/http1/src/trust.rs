//! Field names by which an app can be told who its client is and how it came. From a client they are
//! lies, so they are known however a server may read them. Never looks at a value.
//!
//! docs/forwarding.md lists the claims with the frameworks and services that believe or set them.

/// What becomes of a field of a request, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is passed on.
    Free,
    /// It is passed on, and tells that a proxy has passed the request on.
    Proxys,
    /// It is never passed on: it speaks of one connection only, or of what nobody before us may say.
    Dropped,
    /// It is never passed on: a proxy says it of its client, and we say it anew.
    SaidAnew,
    /// Another proxy says it of its client: it is passed on if that proxy is trusted.
    Claim,
}

/// Names that begin with one letter.
#[derive(Clone, Copy)]
struct Names {
    dropped: &'static [&'static [u8]],
    /// Beginnings of such names.
    dropped_from: &'static [&'static [u8]],
    said_anew: &'static [&'static [u8]],
    claims: &'static [&'static [u8]],
    claims_from: &'static [&'static [u8]],
}

const NONE: Names =
    Names { dropped: &[], dropped_from: &[], said_anew: &[], claims: &[], claims_from: &[] };

/// What a proxy says of its client, and we say anew.
const SAID_ANEW: [&[u8]; 7] = [
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-forwarded-server",
    b"x-real-ip",
];

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
const K: Names = Names { dropped: &[b"keep-alive"], ..NONE };
const P: Names =
    Names { dropped: &[b"proxy", b"proxy-connection"], claims: &[b"proxy-client-ip"], ..NONE };
const R: Names = Names {
    claims: &[b"remote-addr", b"remote-user", b"remote-name", b"remote-email", b"remote-groups"],
    ..NONE
};
const S: Names = Names { dropped_from: &[b"ssl-client"], ..NONE };
const T: Names = Names {
    dropped: &[b"te", b"transfer-encoding"],
    claims: &[b"true-client-ip"],
    claims_from: &[b"tailscale-user-"],
    ..NONE
};
const U: Names = Names { dropped: &[b"upgrade"], ..NONE };
const W: Names = Names { claims: &[b"wl-proxy-client-ip", b"wl-proxy-ssl"], ..NONE };
const X: Names = Names {
    dropped: &[b"x-original-url", b"x-rewrite-url", b"x-forwarded-client-cert"],
    dropped_from: &[
        b"x-segue-",
        b"x-ssl-client",
        b"x-client-cert",
        b"x-forwarded-tls-client-",
        b"x-amzn-mtls-",
        b"x-arr-clientcert",
    ],
    said_anew: &SAID_ANEW,
    claims: &[
        // Of what kind the connection was.
        b"x-forwarded-ssl",
        b"x-forwarded-https",
        b"x-forwarded-scheme",
        b"x-forwarded-protocol",
        b"x-scheme",
        b"x-url-scheme",
        b"x-arr-ssl",
        // Who the client is.
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-forwarded",
        b"x-original-forwarded-for",
        b"x-originating-ip",
        b"x-proxyuser-ip",
        b"x-remote-addr",
        b"x-remote-ip",
        b"x-vercel-forwarded-for",
        b"x-vercel-proxied-for",
        b"x-vercel-ip",
        b"x-appengine-user-ip",
        b"x-appengine-remote-addr",
        b"x-azure-clientip",
        b"x-azure-socketip",
        b"x-nf-client-connection-ip",
        b"x-envoy-external-address",
        b"x-envoy-internal",
        b"x-sucuri-clientip",
        b"x-coming-from",
        b"x-host",
        b"x-http-host-override",
        b"x-original-host",
        b"x-original-uri",
        b"x-original-method",
        b"x-forwarded-method",
        b"x-forwarded-uri",
        b"x-script-name",
        // Who has signed in.
        b"x-forwarded-user",
        b"x-forwarded-email",
        b"x-forwarded-groups",
        b"x-forwarded-preferred-username",
        b"x-forwarded-access-token",
        b"x-remote-user",
        b"x-remote-group",
        b"x-remote-groups",
        b"x-remote-name",
        b"x-remote-email",
        b"x-authenticated-user",
        b"x-authenticated-userid",
    ],
    claims_from: &[
        b"x-amzn-oidc-",
        b"x-auth-request-",
        b"x-authentik-",
        b"x-goog-authenticated-user-",
        b"x-ms-client-principal",
        b"x-remote-extra-",
        b"x-webauth-",
    ],
};

/// What becomes of a field with this name.
pub(crate) fn standing(name: &[u8]) -> Standing {
    let names = match name.first() {
        Some(b'a' | b'A') => &A,
        Some(b'c' | b'C') => &C,
        Some(b'd' | b'D') => &D,
        Some(b'e' | b'E') => &E,
        Some(b'f' | b'F') => &F,
        Some(b'h' | b'H') => &H,
        Some(b'k' | b'K') => &K,
        Some(b'p' | b'P') => &P,
        Some(b'r' | b'R') => &R,
        Some(b's' | b'S') => &S,
        Some(b't' | b'T') => &T,
        Some(b'u' | b'U') => &U,
        Some(b'v' | b'V') => &NONE,
        Some(b'w' | b'W') => &W,
        Some(b'x' | b'X') => &X,
        Some(_) | None => return Standing::Free,
    };
    let is_among = |names: &[&[u8]]| names.iter().any(|known| same(name, known));
    let begins = |names: &[&[u8]]| names.iter().any(|known| starts(name, known));
    if is_among(names.said_anew) {
        Standing::SaidAnew
    } else if is_among(names.dropped) || begins(names.dropped_from) {
        Standing::Dropped
    } else if is_among(names.claims) || begins(names.claims_from) {
        Standing::Claim
    } else if starts(name, b"x-forwarded-") || same(name, b"via") {
        Standing::Proxys
    } else {
        Standing::Free
    }
}

/// Names that `Connection` may not list: removing them would change whose request it is or where
/// it ends.
pub(crate) fn is_essential(name: &[u8]) -> bool {
    const ESSENTIAL: [&[u8]; 4] = [b"host", b"content-length", b"transfer-encoding", b"expect"];
    ESSENTIAL.iter().any(|known| same(name, known)) || matches!(standing(name), Standing::SaidAnew)
}

/// Equal once letters are lower case and every byte that is neither letter nor digit reads `-`: CGI, WSGI
/// and PHP make `_` of it, and some servers of dots and other bytes, too.
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
            assert_eq!(standing(name.as_bytes()), Standing::Claim, "{name}");
        }
        for name in ["X.Forwarded.For", "x-real_IP", "FORWARDED"] {
            assert_eq!(standing(name.as_bytes()), Standing::SaidAnew, "{name}");
            assert!(is_essential(name.as_bytes()), "{name}");
        }
        for name in ["Content.Length", "proxy", "X-Segue-Hops", "SSL.Client.Verify"] {
            assert_eq!(standing(name.as_bytes()), Standing::Dropped, "{name}");
        }
        for name in ["Accept", "X-Requested-With", "Client-IPs", "X-Forwarde-For", "", "-", "Vi"] {
            assert_eq!(standing(name.as_bytes()), Standing::Free, "{name}");
        }
        for name in ["via", "X-Forwarded-Anything"] {
            assert_eq!(standing(name.as_bytes()), Standing::Proxys, "{name}");
        }
    }

    #[test]
    fn every_name_stands_with_its_letter() {
        let all = [&A, &C, &D, &E, &F, &H, &K, &P, &R, &S, &T, &U, &W, &X];
        for (names, letter) in all.into_iter().zip("acdefhkprstuwx".bytes()) {
            let Names { dropped, dropped_from, said_anew, claims, claims_from } = names;
            let all = [dropped, dropped_from, said_anew, claims, claims_from];
            for name in all.iter().flat_map(|list| list.iter()) {
                assert_eq!(name[0], letter, "{}", name.escape_ascii());
                let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
                assert!(name.iter().all(plain), "{}", name.escape_ascii());
                assert_ne!(standing(name), Standing::Free, "{}", name.escape_ascii());
            }
        }
    }
}
