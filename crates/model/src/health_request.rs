//! The request with which an instance is asked whether it is healthy.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec;
use core::fmt::Write as _;

use crate::{Address, AppSpec, Conventions, Serving};

impl Serving {
    /// Returns what an instance of a release serves at these addresses, according to the settings.
    pub fn new(
        spec: &AppSpec,
        conventions: Conventions,
        address: Address,
        health_address: Option<Address>,
    ) -> Self {
        let probe_host = probe_host(spec, conventions);
        Self { address, health_address, probe_host, conventions, health: spec.health.clone() }
    }

    /// Returns the address that is probed.
    pub fn probed_address(&self) -> &Address {
        self.health_address.as_ref().unwrap_or(&self.address)
    }

    /// Returns the text of the health request. It looks like a user's request that a proxy has passed on, unless
    /// the settings say otherwise.
    pub fn health_request(&self) -> String {
        let check = &self.health;
        let host = self.probe_host.clone().unwrap_or_else(|| match self.probed_address() {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        });
        let mut fields = vec![("Host", host), ("User-Agent", "segue-probe".to_owned())];
        fields.push(("Accept", "*/*".to_owned()));
        match self.conventions {
            Conventions::First => {}
            Conventions::Second => {
                fields.push(("X-Forwarded-Proto", "https".to_owned()));
                fields.push(("X-Forwarded-For", "127.0.0.1".to_owned()));
            }
        }
        fields.retain(|(name, _)| !check.headers.contains_key(&name.to_ascii_lowercase()));
        let given = check.headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
        fields.extend(given);
        fields.push(("Connection", "close".to_owned()));
        // The settings were checked when they were read. Characters that could end a line are removed all the
        // same.
        let path: String = check.path.chars().filter(|c| !c.is_control() && *c != ' ').collect();
        let mut text = alloc::format!("GET {path} HTTP/1.1\r\n");
        for (name, value) in fields {
            let value: String = value.chars().filter(|c| !c.is_control()).collect();
            // Writing to a String cannot fail.
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        text
    }
}

/// Returns the host name for probes. It is a name that users ask for, so that an app that accepts only
/// its own name answers.
fn probe_host(spec: &AppSpec, conventions: Conventions) -> Option<String> {
    match conventions {
        Conventions::First => None,
        Conventions::Second => {
            let named = spec.route.hosts.iter().find(|host| !host.contains('*'));
            spec.health.host.as_ref().or(spec.route.canonical.as_ref()).or(named).cloned()
        }
    }
}
