//! Closing an app by hand: the request, which is read once and checked as a whole.

use model::{Maintenance, Millis, Page};
use serde::{Deserialize, Serialize};

use crate::strategy::{check_message, check_page, check_retry_after};
use crate::value_checks::DAY;
use crate::{Code, Problem, parse_duration};

const HOUR: Millis = Millis::from_secs(3_600);
/// The largest number of networks. More are a mistake.
const MOST_NETWORKS: usize = 256;

/// `POST /v1/apps/{app}/maintenance`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    /// True to close the app, false to open it again. The other fields are only for closing.
    pub on: bool,
    /// A whole HTML page of at most 64 KiB. The default is a plain page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// One sentence for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The value of `Retry-After`, as a length of time in whole seconds; the default is `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// The networks whose clients are let through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// The time that requests wait before they get the page. By default they do not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// The version of the app that the client has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl MaintenanceRequest {
    /// Returns the page that users see; `None` opens the app.
    ///
    /// # Errors
    /// Names the invalid field and the reason.
    pub fn read(self) -> Result<Option<Maintenance>, Problem> {
        let Self { on, page, message, retry_after, allow, hold, version: _ } = self;
        if !on {
            let fields = [&page, &message, &retry_after, &hold];
            if fields.iter().any(|field| field.is_some()) || !allow.is_empty() {
                let problem = Problem::new(Code::Invalid, "`on`: an open app shows no page");
                return Err(problem.hint("send {\"on\": false} alone"));
            }
            return Ok(None);
        }
        if let Some(html) = &page {
            check_page(html).map_err(|why| wrong("page", why))?;
        }
        if let Some(message) = &message {
            check_message(message).map_err(|why| wrong("message", why))?;
        }
        let second = Millis::from_secs(1);
        let retry_after = time("retry_after", retry_after, Millis::from_secs(30), second, DAY)?;
        check_retry_after(retry_after).map_err(|why| wrong("retry_after", why))?;
        if allow.len() > MOST_NETWORKS {
            return Err(wrong("allow", format!("{MOST_NETWORKS} networks at most are allowed")));
        }
        let networks = allow.iter().map(|text| text.parse().map_err(|e| wrong("allow", e)));
        Ok(Some(Maintenance {
            allow: networks.collect::<Result<_, _>>()?,
            page: Page { html: page.map(Into::into), message, retry_after },
            hold: time("hold", hold, Millis(0), Millis(0), HOUR)?,
        }))
    }
}

fn time(
    field: &str,
    text: Option<String>,
    default: Millis,
    least: Millis,
    most: Millis,
) -> Result<Millis, Problem> {
    let Some(text) = text else { return Ok(default) };
    let time = parse_duration(&text).map_err(|e| wrong(field, e))?;
    if time < least || time > most {
        return Err(wrong(field, format!("{time} is not within {least} and {most}")));
    }
    Ok(time)
}

fn wrong(field: &str, why: impl std::fmt::Display) -> Problem {
    Problem::new(Code::Invalid, format!("`{field}`: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_whole_or_refused() {
        let bare = MaintenanceRequest { on: true, ..MaintenanceRequest::default() };
        let read = bare.clone().read().unwrap().unwrap();
        assert_eq!((read.page.retry_after, read.hold), (Millis::from_secs(30), Millis(0)));
        assert_eq!(MaintenanceRequest::default().read(), Ok(None));
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (MaintenanceRequest { on: false, hold: text("1s"), ..bare.clone() }, "`on`: an open"),
            (MaintenanceRequest { page: text(&"x".repeat(65_537)), ..bare.clone() }, "`page`: the"),
            (MaintenanceRequest { message: text("a\nb"), ..bare.clone() }, "`message`: one line"),
            (
                MaintenanceRequest { retry_after: text("0s"), ..bare.clone() },
                "`retry_after`: 0ms is",
            ),
            (
                MaintenanceRequest { hold: text("5"), ..bare.clone() },
                "`hold`: \"5\" is not a valid",
            ),
            (
                MaintenanceRequest { allow: vec!["x".into()], ..bare },
                "`allow`: \"x\" is not a valid",
            ),
        ];
        for (request, why) in cases {
            let message = request.read().unwrap_err().message;
            assert!(message.starts_with(why), "{message}");
        }
    }
}
