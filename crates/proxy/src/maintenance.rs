//! The page that users see while an app is closed to them, as HTML or as JSON. Built once per snapshot;
//! never asks the app.

use model::{Maintenance, Network};
use serde_json::json;

use crate::pages::{Form, LocalReply};
use crate::whence::Whence;

const MESSAGE: &str = "We are working on it and will be back soon.";

/// An app that is closed to its users.
#[derive(Debug)]
pub(crate) struct Closed {
    /// Milliseconds that requests wait before they get the page.
    pub(crate) hold_ms: u64,
    allow: Vec<Network>,
    html: String,
    json: String,
    retry_after_s: u64,
}

impl Closed {
    pub(crate) fn new(maintenance: &Maintenance) -> Self {
        let page = &maintenance.page;
        let message = page.message.as_deref().unwrap_or(MESSAGE);
        // Rounded up: a client that comes back too early would get the page again. Never 0, which means
        // "now".
        let retry_after_s = page.retry_after.0.div_ceil(1000).max(1);
        let error =
            json!({ "code": "maintenance", "message": message, "retry_after": retry_after_s });
        Self {
            hold_ms: maintenance.hold.0,
            allow: maintenance.allow.clone(),
            html: page.html.as_deref().map_or_else(|| own_page(message), str::to_owned),
            json: format!("{}\n", json!({ "error": error })),
            retry_after_s,
        }
    }

    /// Returns whether the client may use the app.
    pub(crate) fn lets_in(&self, client: Whence) -> bool {
        client.is_in(&self.allow)
    }

    /// Returns the answer in the form that suits the client.
    pub(crate) fn reply(&self, form: Form) -> LocalReply<'_> {
        let (kind, body) = match form.json {
            true => ("application/json", &self.json),
            false => ("text/html", &self.html),
        };
        LocalReply {
            status: 503,
            kind,
            body: body.as_bytes(),
            retry_after_s: Some(self.retry_after_s),
            location: None,
        }
    }
}

fn own_page(message: &str) -> String {
    let message = escaped(message);
    format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n\
         <title>Back soon</title>\n\
         <style>\n\
         :root {{ color-scheme: light dark }}\n\
         body {{ margin: 0; min-height: 100vh; display: grid; place-items: center;\n\
         \x20 font: 1.05rem/1.6 system-ui, sans-serif; background: Canvas; color: CanvasText }}\n\
         main {{ max-width: 32rem; padding: 2rem; text-align: center }}\n\
         h1 {{ margin: 0 0 .5rem; font-size: 2rem; font-weight: 600; line-height: 1.2 }}\n\
         p {{ margin: 0; opacity: .75; overflow-wrap: anywhere }}\n\
         </style>\n\
         <main><h1>Back soon</h1><p>{message}</p></main>\n\
         </html>\n"
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
