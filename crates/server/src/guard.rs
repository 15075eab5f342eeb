//! Authentication of requests. The default is closed: every endpoint that is not open needs the token. Every
//! request needs a `Host` that this API answers for, so that a web page cannot reach the API under a name of
//! its own (DNS rebinding).

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq as _;
use wire::{Code, Problem, Secret};

use crate::ApiState;
use crate::answer::No;
use crate::connection_limit::{ApiConnection, Full};
use crate::endpoints::Endpoint;

/// The time limit for an ordinary request.
const IN_TIME: Duration = Duration::from_secs(30);

/// The token, and the host names that this API answers for besides the loopback names.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The token, shared by all clones.
    token: Arc<RwLock<Secret>>,
    hosts: Vec<String>,
}

impl Guard {
    /// Creates a guard that requires this token. `hosts` are names without a port.
    pub fn new(token: Secret, hosts: Vec<String>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { token: Arc::new(RwLock::new(token)), hosts }
    }

    /// Replaces the token. A client that has sent the previous token stays connected, but each of its further
    /// requests is checked against the new one.
    pub fn replace_token(&self, token: Secret) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    fn token(&self) -> RwLockReadGuard<'_, Secret> {
        self.token.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows_host(&self, headers: &HeaderMap) -> bool {
        let mut all = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (all.next(), all.next()) else { return false };
        host.to_str().is_ok_and(|host| self.is_own(without_port(host)))
    }

    /// Whether the target names no other host: in its absolute form it has one, which counts for more than
    /// the field (RFC 9112, 3.2.2).
    fn knows_target(&self, target: &Uri) -> bool {
        target.authority().is_none_or(|authority| self.is_own(authority.host()))
    }

    fn is_own(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        matches!(name.as_str(), "localhost" | "127.0.0.1" | "[::1]") || self.hosts.contains(&name)
    }

    /// Returns whether the request has the right token. The time this takes depends only on the length of the
    /// token sent, not on its content.
    fn knows_token(&self, headers: &HeaderMap) -> bool {
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (all.next(), all.next()) else { return false };
        let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.split_once(' '))
        else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer")
            && token.as_bytes().ct_eq(self.token().expose().as_bytes()).into()
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') && port.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        Some(_) | None => host,
    }
}

pub(crate) async fn admit(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    if !(guard.knows_host(request.headers()) && guard.knows_target(request.uri())) {
        let message = "this API does not answer under the host name that was asked";
        let problem = Problem::new(Code::ForbiddenHost, message);
        return No(problem.hint("ask http://127.0.0.1:PORT or http://localhost:PORT"))
            .into_response();
    }
    let has_token = guard.knows_token(request.headers());
    let is_open = Endpoint::of(&request).is_some_and(|endpoint| endpoint.open);
    if !is_open && !has_token {
        let problem = Problem::new(Code::Unauthorized, "no token was sent, or not the right one");
        let hint = "pass --token or set SEGUE_TOKEN; the token stands in the file `token` of the \
                    server's data folder";
        return No(problem.hint(hint)).into_response();
    }
    // Requests of tests have no connection.
    if let Some(connection) = request.extensions().get::<ApiConnection>().filter(|_| has_token)
        && let Err(Full) = connection.is_known_now()
    {
        let message = "there are too many connections with the token";
        let problem = Problem::new(Code::Unavailable, message);
        return No(problem.hint("end some `logs --follow`, or try again")).into_response();
    }
    next.run(request).await
}

/// Refuses requests that would change something while changes are refused.
pub(crate) async fn not_read_only(
    State(api): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    if Endpoint::of(&request).is_some_and(|endpoint| !endpoint.when_read_only)
        && let Some(problem) = api.read_only()
    {
        return No(problem).into_response();
    }
    next.run(request).await
}

/// Gives up a request that takes longer than the time limit. A command that was accepted before is still
/// carried out.
pub(crate) async fn in_time(request: Request, next: Next) -> Response {
    if Endpoint::of(&request).is_some_and(|endpoint| endpoint.long) {
        return next.run(request).await;
    }
    match tokio::time::timeout(IN_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("no answer within {} s", IN_TIME.as_secs());
            No(Problem::new(Code::Timeout, message)).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(header::HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_loopback_and_configured_names_are_answered() {
        let guard = Guard::new(Secret::new("t"), vec!["Box.Example".into()]);
        let hosts = ["localhost", "127.0.0.1:7070", "[::1]:7070", "LOCALHOST:1", "box.example:7"];
        for host in hosts {
            assert!(guard.knows_host(&headers(&[(header::HOST, host)])), "{host}");
        }
        let foreign = [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "",
            "0.0.0.0",
            "[::1]evil.test",
            "[::1]evil.test:7070",
            "[::1",
            "127.0.0.1:evil.test",
            "localhost:80:80",
            "::1",
        ];
        for host in foreign {
            assert!(!guard.knows_host(&headers(&[(header::HOST, host)])), "{host}");
        }
        assert!(!guard.knows_host(&HeaderMap::new()));
        let knows = |target: &str| guard.knows_target(&target.parse().unwrap());
        assert!(
            knows("/v1/apps") && knows("http://localhost:7070/v1/apps") && knows("http://[::1]/")
        );
        assert!(!knows("http://evil.test/v1/apps") && !knows("http://localhost.evil:7070/"));
    }

    #[test]
    fn only_the_whole_token_opens() {
        let guard = Guard::new(Secret::new("abc"), vec![]);
        let sent = |value| guard.knows_token(&headers(&[(header::AUTHORIZATION, value)]));
        assert!(sent("Bearer abc") && sent("bearer abc"));
        let clone = guard.clone();
        clone.replace_token(Secret::new("xyz"));
        assert!(sent("Bearer xyz") && !sent("Bearer abc"));
        clone.replace_token(Secret::new("abc"));
        for value in ["Bearer ab", "Bearer abcd", "Bearer", "abc", "Basic abc", "Bearer  abc"] {
            assert!(!sent(value), "{value}");
        }
    }
}
