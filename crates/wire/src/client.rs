//! The client of the API: blocking, with one method per endpoint. Decides nothing and prints nothing; the
//! caller decides whether a call may be repeated.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use model::{AppName, Digest, InstanceId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, Body, SendBody};

use crate::checked_read::{Listed, NotSent};
use crate::client_error::ClientError;
use crate::connector::{Dialer, ServerAddress};
use crate::{
    AppInfo, BareRequest, Blob, Code, CommandAccepted, DeployPlan, DeployRequest, Distrust, Down,
    ErrorBody, JsonLines, LeftState, Line, LogLine, MaintenanceRequest, Missing, Problem,
    PromoteRequest, ReceiptWithCause, RollbackRequest, RolloutReceipt, RolloutStanding, SOCKET,
    ScaleRequest, Secret, StoredRelease, Trusted, Wanted,
};

pub(crate) type Result<T> = std::result::Result<T, ClientError>;

/// A client of one segue server.
#[derive(Clone, Debug)]
pub struct ApiClient {
    agent: Agent,
    /// The beginning of every URL.
    base: String,
    /// The server's address in the form that is shown to people.
    name: String,
    token: Option<Secret>,
}

/// The time after which a silent server is given up. Streams send a line a second.
const SILENCE: Duration = Duration::from_secs(10);

impl ApiClient {
    /// Creates a client of the server at `url`, which has the form `http://HOST:PORT`. On this machine the
    /// client sends nothing to a process that is not `trusted`.
    ///
    /// # Errors
    /// If `url` cannot be the address of a server.
    pub fn new(url: &str, token: Option<Secret>, trusted: Trusted) -> Result<Self> {
        let wrong = |why| ClientError::Url { url: url.to_owned(), why };
        if url.starts_with("https://") {
            return Err(wrong("TLS on the API is not supported yet; use an SSH tunnel"));
        }
        let rest =
            url.strip_prefix("http://").ok_or_else(|| wrong("it has to start with http://"))?;
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
            return Err(wrong("write it like http://127.0.0.1:7070"));
        }
        let Ok(parsed) = authority.parse::<ureq::http::uri::Authority>() else {
            return Err(wrong("write it like http://127.0.0.1:7070"));
        };
        let base = format!("http://{authority}");
        // The name `localhost` is not resolved by the system: a server binds one of the two loopback
        // addresses.
        let (place, asked) = if parsed.host().eq_ignore_ascii_case("localhost") {
            let port = parsed.port_u16().unwrap_or(80);
            (ServerAddress::Localhost(port), format!("http://127.0.0.1:{port}"))
        } else {
            (ServerAddress::Named, base.clone())
        };
        Self::dialing(Dialer { place, trusted }, asked, base, token)
    }

    /// Creates a client of the server that uses the data folder `folder`. The client connects to the socket
    /// in that folder.
    ///
    /// # Errors
    /// If the token has an invalid form.
    pub fn in_folder(folder: &Path, token: Option<Secret>, trusted: Trusted) -> Result<Self> {
        let place = ServerAddress::Folder(folder.to_owned());
        let name = folder.join(SOCKET).display().to_string();
        Self::dialing(Dialer { place, trusted }, "http://127.0.0.1".to_owned(), name, token)
    }

    fn dialing(dialer: Dialer, base: String, name: String, token: Option<Secret>) -> Result<Self> {
        if let Some(token) = &token
            && !token.expose().bytes().all(|b| b.is_ascii_graphic())
        {
            let why = "its token may only hold visible ASCII";
            return Err(ClientError::Url { url: name, why });
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("segue/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .build();
        let agent = Agent::with_parts(config, dialer, DefaultResolver::default());
        Ok(Self { agent, base, name, token })
    }

    /// Returns the server's address in the form that is shown to people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Checks that a segue server answers at the address. Needs no token.
    ///
    /// # Errors
    /// If no segue server answers.
    pub fn alive(&self) -> Result<()> {
        let url = format!("{}/healthz", self.base);
        let answer = self.agent.get(&url).call();
        self.checked(answer).map(|_| ())
    }

    /// Returns all apps.
    ///
    /// # Errors
    /// If the server does not answer or refuses the request. This holds for every call.
    pub fn apps(&self) -> Result<Vec<AppInfo>> {
        self.get("/v1/apps")
    }

    /// Returns one app.
    ///
    /// # Errors
    /// Those of every call.
    pub fn app(&self, app: &AppName) -> Result<AppInfo> {
        self.get(&format!("/v1/apps/{app}"))
    }

    /// Returns an app's releases, oldest first.
    ///
    /// # Errors
    /// Those of every call.
    pub fn releases(&self, app: &AppName) -> Result<Vec<StoredRelease>> {
        self.get(&format!("/v1/apps/{app}/releases"))
    }

    /// Returns the receipts of an app's last rollouts, oldest first.
    ///
    /// # Errors
    /// Those of every call.
    pub fn receipts(&self, app: &AppName) -> Result<Vec<ReceiptWithCause>> {
        self.get(&format!("/v1/apps/{app}/receipts"))
    }

    /// Returns the receipt of one rollout.
    ///
    /// # Errors
    /// Those of every call; "not found" while the rollout is under way.
    pub fn receipt(&self, app: &AppName, rollout: u32) -> Result<ReceiptWithCause> {
        self.get(&format!("/v1/apps/{app}/receipts/{rollout}"))
    }

    /// Returns the receipt so far of the rollout under way.
    ///
    /// # Errors
    /// Those of every call; "not found" if no rollout is under way.
    pub fn rollout(&self, app: &AppName) -> Result<RolloutReceipt<RolloutStanding>> {
        self.get(&format!("/v1/apps/{app}/rollout"))
    }

    /// Deploys a release whose blobs the server has.
    ///
    /// # Errors
    /// Those of every call.
    pub fn deploy(&self, app: &AppName, request: &DeployRequest) -> Result<CommandAccepted> {
        self.post(&format!("/v1/apps/{app}/deploys"), request)
    }

    /// Goes back to another release.
    ///
    /// # Errors
    /// Those of every call.
    pub fn rollback(&self, app: &AppName, request: &RollbackRequest) -> Result<CommandAccepted> {
        self.post(&format!("/v1/apps/{app}/rollback"), request)
    }

    /// Continues a rollout that waits for a person.
    ///
    /// # Errors
    /// Those of every call.
    pub fn promote(&self, app: &AppName, request: &PromoteRequest) -> Result<CommandAccepted> {
        self.post(&format!("/v1/apps/{app}/promote"), request)
    }

    /// Asks what a deploy would do. Changes nothing.
    ///
    /// # Errors
    /// Those of every call.
    pub fn plan(&self, app: &AppName, request: &DeployRequest) -> Result<DeployPlan> {
        self.post(&format!("/v1/apps/{app}/plan"), request)
    }

    /// Holds a rollout at its current step.
    ///
    /// # Errors
    /// Those of every call.
    pub fn pause(&self, app: &AppName, request: &BareRequest) -> Result<CommandAccepted> {
        self.post(&format!("/v1/apps/{app}/pause"), request)
    }

    /// Brings the standby to the live version.
    ///
    /// # Errors
    /// Those of every call.
    pub fn sync(&self, app: &AppName, request: &BareRequest) -> Result<CommandAccepted> {
        self.post(&format!("/v1/apps/{app}/sync"), request)
    }

    /// Continues a rollout that is held.
    ///
    /// # Errors
    /// Those of every call.
    pub fn resume(&self, app: &AppName, request: &BareRequest) -> Result<CommandAccepted> {
        self.post(&format!("/v1/apps/{app}/resume"), request)
    }

    /// Replaces every instance of the live release.
    ///
    /// # Errors
    /// Those of every call.
    pub fn restart(&self, app: &AppName, request: &BareRequest) -> Result<CommandAccepted> {
        self.post(&format!("/v1/apps/{app}/restart"), request)
    }

    /// Changes the number of instances of an app.
    ///
    /// # Errors
    /// Those of every call.
    pub fn scale(&self, app: &AppName, request: &ScaleRequest) -> Result<CommandAccepted> {
        self.post(&format!("/v1/apps/{app}/scale"), request)
    }

    /// Closes an app for its users, or opens it again.
    ///
    /// # Errors
    /// Those of every call.
    pub fn maintenance(
        &self,
        app: &AppName,
        request: &MaintenanceRequest,
    ) -> Result<CommandAccepted> {
        self.post(&format!("/v1/apps/{app}/maintenance"), request)
    }

    /// Aborts a rollout.
    ///
    /// # Errors
    /// Those of every call.
    pub fn abort(&self, app: &AppName, request: &BareRequest) -> Result<CommandAccepted> {
        self.post(&format!("/v1/apps/{app}/abort"), request)
    }

    /// Returns the state that removed apps have left behind.
    ///
    /// # Errors
    /// Those of every call.
    pub fn left_state(&self) -> Result<Vec<LeftState>> {
        self.get("/v1/state")
    }

    /// Removes an app, and its state if `with_state` is true.
    ///
    /// # Errors
    /// Those of every call.
    pub fn remove(&self, app: &AppName, with_state: bool) -> Result<CommandAccepted> {
        let query = if with_state { "?with_state=true" } else { "" };
        self.delete(&format!("/v1/apps/{app}{query}"))
    }

    /// Stops every instance and then the server.
    ///
    /// # Errors
    /// Those of every call.
    pub fn down(&self) -> Result<Down> {
        self.post("/v1/down", &serde_json::json!({}))
    }

    /// Returns the digests of those of these blobs that the server does not have.
    ///
    /// # Errors
    /// Those of every call.
    pub fn missing(&self, blobs: Vec<Blob>) -> Result<Vec<Digest>> {
        let Missing { missing } = self.post("/v1/blobs/missing", &Wanted { blobs })?;
        Ok(missing)
    }

    /// Uploads one blob. `content` may be longer than the blob.
    ///
    /// # Errors
    /// Those of every call; [`ClientError::Changed`] if the content does not match the digest.
    pub fn put_blob(&self, blob: Blob, content: impl Read) -> Result<()> {
        let mut content = Listed::new(content, blob);
        let url = self.at(&format!("/v1/blobs/{}", blob.digest));
        let request = self
            .authorized(self.agent.put(&url))
            .header("content-type", "application/octet-stream")
            .header("content-length", blob.size.to_string());
        let answer = request.send(SendBody::from_reader(&mut content));
        self.checked(answer).map(|_| ())
    }

    /// Returns the stream of an app's events after the event number `after`. If a rollout is named, the
    /// stream has only its events. The stream goes on until the server ends it.
    ///
    /// # Errors
    /// Those of every call.
    pub fn events(
        &self,
        app: &AppName,
        after: u64,
        rollout: Option<u32>,
    ) -> Result<JsonLines<Line>> {
        let mut path = format!("/v1/apps/{app}/events?after={after}");
        if let Some(rollout) = rollout {
            path += &format!("&rollout={rollout}");
        }
        self.stream(&path)
    }

    /// Returns the last `lines` lines of the output of an app or of one instance, and with `follow` the lines
    /// that come after them. Empty lines in the response keep the connection alive and are skipped.
    ///
    /// # Errors
    /// Those of every call.
    pub fn logs(
        &self,
        app: &AppName,
        instance: Option<&InstanceId>,
        lines: u32,
        follow: Follow,
    ) -> Result<JsonLines<LogLine>> {
        let mut path =
            format!("/v1/apps/{app}/logs?lines={lines}&follow={}", follow == Follow::Yes);
        if let Some(instance) = instance {
            path += &format!("&instance={instance}");
        }
        self.stream(&path)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.expose())),
            None => request,
        }
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.json(self.authorized(self.agent.get(self.at(path))).call())
    }

    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.json(self.authorized(self.agent.post(self.at(path))).send_json(body))
    }

    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.json(self.authorized(self.agent.delete(self.at(path))).call())
    }

    fn stream<T: DeserializeOwned>(&self, path: &str) -> Result<JsonLines<T>> {
        let url = self.at(path);
        let answer = self.checked(self.authorized(self.agent.get(&url)).call())?;
        Ok(JsonLines::new(self.name.clone(), answer.into_body()))
    }

    fn json<T: DeserializeOwned>(&self, answer: Answered) -> Result<T> {
        let mut answer = self.checked(answer)?;
        answer.body_mut().with_config().limit(64 * 1024 * 1024).read_json().map_err(|source| {
            ClientError::Answer { url: self.name.clone(), source: Box::new(source) }
        })
    }

    /// Returns the response if it is a success of the API, and otherwise the error.
    fn checked(&self, answer: Answered) -> Result<Response<Body>> {
        let mut answer = answer.map_err(|error| self.unanswered(error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.body_mut().with_config().limit(64 * 1024).read_to_string();
        let body = body.unwrap_or_default();
        match serde_json::from_str::<ErrorBody>(&body) {
            Ok(ErrorBody { error }) => Err(error.into()),
            Err(_) if status.as_u16() == 401 => {
                Err(Problem::new(Code::Unauthorized, "the server wants a token").into())
            }
            Err(_) => {
                let to = answer.headers().get("location").and_then(|to| to.to_str().ok());
                let source = match to.filter(|_| status.is_redirection()) {
                    Some(to) => format!("it answered {status} and leads to {to}"),
                    None => format!("it answered {status} without saying why"),
                };
                Err(ClientError::Answer { url: self.name.clone(), source: source.into() })
            }
        }
    }

    /// Returns the reason why there is no response.
    fn unanswered(&self, error: ureq::Error) -> ClientError {
        if let ureq::Error::Io(mut error) = error {
            return match NotSent::of(&mut error) {
                Some(NotSent::Changed) => ClientError::Changed,
                Some(NotSent::Unreadable(error)) => ClientError::Unreadable(error),
                None => self.unreachable(ureq::Error::Io(error)),
            };
        }
        let ureq::Error::Other(error) = error else { return self.unreachable(error) };
        match error.downcast::<Distrust>() {
            Ok(distrust) => ClientError::Distrusted(*distrust),
            Err(error) => self.unreachable(ureq::Error::Other(error)),
        }
    }

    fn unreachable(&self, source: ureq::Error) -> ClientError {
        ClientError::Unreachable { url: self.name.clone(), source }
    }
}

type Answered = std::result::Result<Response<Body>, ureq::Error>;

/// The choice whether a stream of output goes on with new output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The stream stays open for new output.
    Yes,
    /// The stream ends after the output that exists.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_of_a_server_is_taken() {
        for good in ["http://127.0.0.1:7070", "http://localhost:1/", "http://[::1]:7070"] {
            assert!(ApiClient::new(good, None, Trusted::default()).is_ok(), "{good}");
        }
        for bad in
            ["127.0.0.1:7070", "https://a", "http://", "http://a/b", "http://u@h", "http://a b"]
        {
            assert!(ApiClient::new(bad, None, Trusted::default()).is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_there_is_unreachable() {
        let url = format!("http://{}", testport::reserve());
        let client = ApiClient::new(&url, None, Trusted::default()).unwrap();
        assert!(matches!(client.apps(), Err(ClientError::Unreachable { .. })));
    }
}
