//! The table of all endpoints of the API. The router, the guard and the rule for a read-only server are
//! derived from this table.

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::api_state::ApiState;
use crate::{apps, blobs, commands, deploys, events, health, logs, members};

/// One method of one path.
pub(crate) struct Endpoint {
    method: Method,
    filter: MethodFilter,
    path: &'static str,
    /// True if the endpoint is answered without the token.
    pub open: bool,
    /// True if the endpoint is answered even while changes are refused.
    pub when_read_only: bool,
    /// True if a request may take any time. Other requests are given up after a time limit.
    pub long: bool,
    handler: Handler,
}

type Handler = fn(MethodFilter) -> MethodRouter<ApiState>;

static ENDPOINTS: [Endpoint; 34] = [
    get("/healthz", |method| on(method, health::healthy)).open(),
    get("/metrics", |method| on(method, health::metrics)),
    get("/readyz", |method| on(method, health::ready)),
    get("/v1/apps", |method| on(method, apps::list)),
    get("/v1/apps/{app}", |method| on(method, apps::show)),
    delete("/v1/apps/{app}", |method| on(method, commands::remove)),
    get("/v1/apps/{app}/releases", |method| on(method, apps::releases)),
    get("/v1/apps/{app}/receipts", |method| on(method, apps::receipts)),
    get("/v1/apps/{app}/receipts/{rollout}", |method| on(method, apps::receipt)),
    get("/v1/apps/{app}/rollout", |method| on(method, apps::rollout)),
    get("/v1/apps/{app}/events", |method| on(method, events::stream)).long(),
    get("/v1/apps/{app}/logs", |method| on(method, logs::stream)).long(),
    post("/v1/apps/{app}/deploys", |method| on(method, deploys::deploy)),
    post("/v1/apps/{app}/plan", |method| on(method, deploys::plan)).when_read_only(),
    post("/v1/apps/{app}/rollback", |method| on(method, commands::rollback)),
    post("/v1/apps/{app}/promote", |method| on(method, commands::promote)),
    post("/v1/apps/{app}/pause", |method| on(method, commands::pause)),
    post("/v1/apps/{app}/sync", |method| on(method, commands::sync)),
    post("/v1/apps/{app}/resume", |method| on(method, commands::resume)),
    post("/v1/apps/{app}/restart", |method| on(method, commands::restart)),
    post("/v1/apps/{app}/scale", |method| on(method, commands::scale)),
    post("/v1/apps/{app}/maintenance", |method| on(method, commands::maintenance)),
    post("/v1/apps/{app}/abort", |method| on(method, commands::abort)),
    get("/v1/fleet", |method| on(method, members::show)),
    post("/v1/fleet/invites", |method| on(method, members::invite)),
    post("/v1/fleet/hosts/{name}/duty", |method| on(method, members::set_duty)),
    post("/v1/fleet/hosts/{name}/address", |method| on(method, members::set_address)),
    post("/v1/fleet/members/{name}/accept", |method| on(method, members::accept)),
    post("/v1/fleet/proxies/{name}/duty", |method| on(method, members::set_proxy_duty)),
    delete("/v1/fleet/members/{name}", |method| on(method, members::remove)),
    get("/v1/state", |method| on(method, commands::left_state)),
    post("/v1/blobs/missing", |method| on(method, blobs::missing)),
    put("/v1/blobs/{digest}", |method| on(method, blobs::put)).long(),
    post("/v1/down", |method| on(method, health::down)).when_read_only(),
];

const fn get(path: &'static str, handler: Handler) -> Endpoint {
    Endpoint {
        method: Method::GET,
        filter: MethodFilter::GET,
        path,
        open: false,
        when_read_only: true,
        long: false,
        handler,
    }
}

const fn post(path: &'static str, handler: Handler) -> Endpoint {
    changing(Method::POST, MethodFilter::POST, path, handler)
}

const fn put(path: &'static str, handler: Handler) -> Endpoint {
    changing(Method::PUT, MethodFilter::PUT, path, handler)
}

const fn delete(path: &'static str, handler: Handler) -> Endpoint {
    changing(Method::DELETE, MethodFilter::DELETE, path, handler)
}

const fn changing(
    method: Method,
    filter: MethodFilter,
    path: &'static str,
    handler: Handler,
) -> Endpoint {
    Endpoint { method, filter, path, open: false, when_read_only: false, long: false, handler }
}

impl Endpoint {
    const fn open(mut self) -> Self {
        self.open = true;
        self
    }

    const fn when_read_only(mut self) -> Self {
        self.when_read_only = true;
        self
    }

    const fn long(mut self) -> Self {
        self.long = true;
        self
    }

    /// Returns the endpoint that a request was routed to, or `None` if no endpoint matches. HEAD is answered
    /// as GET.
    pub(crate) fn of(request: &Request) -> Option<&'static Self> {
        let path = request.extensions().get::<MatchedPath>()?.as_str();
        let method = match *request.method() {
            Method::HEAD => &Method::GET,
            ref other => other,
        };
        ENDPOINTS.iter().find(|endpoint| endpoint.path == path && endpoint.method == *method)
    }
}

/// Returns the router with all endpoints.
pub(crate) fn routes() -> Router<ApiState> {
    ENDPOINTS.iter().fold(Router::new(), |router, endpoint| {
        router.route(endpoint.path, (endpoint.handler)(endpoint.filter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(is: impl Fn(&Endpoint) -> bool) -> Vec<String> {
        let these = ENDPOINTS.iter().filter(|endpoint| is(endpoint));
        these.map(|endpoint| format!("{} {}", endpoint.method, endpoint.path)).collect()
    }

    /// Every endpoint that is open to everybody has to be listed here.
    #[test]
    fn whatever_is_not_named_here_is_closed_refused_when_read_only_and_given_up_in_time() {
        assert_eq!(with(|endpoint| endpoint.open), ["GET /healthz"]);
        let changes_nothing = with(|e| e.when_read_only && e.method != Method::GET);
        assert_eq!(changes_nothing, ["POST /v1/apps/{app}/plan", "POST /v1/down"]);
        assert!(with(|e| !e.when_read_only && e.method == Method::GET).is_empty());
        let long =
            ["GET /v1/apps/{app}/events", "GET /v1/apps/{app}/logs", "PUT /v1/blobs/{digest}"];
        assert_eq!(with(|endpoint| endpoint.long), long);
    }

    #[test]
    fn every_endpoint_is_routed() {
        for endpoint in &ENDPOINTS {
            let filter = MethodFilter::try_from(endpoint.method.clone()).unwrap();
            assert_eq!(format!("{filter:?}"), format!("{:?}", endpoint.filter));
        }
        // This panics if two endpoints have the same method and path.
        let _ = routes();
    }
}
