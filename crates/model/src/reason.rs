//! Reasons for "not yet" and "no", as values: the awaited condition, since when, until when, and what
//! happens then. The command line, the API and the dashboard print them in the same sentences.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Exit, Generation, HostAside, HostId, InstanceId, Label, ProxyId, ReleaseNo, Share, Timestamp,
};

/// Why something has not happened yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The awaited condition.
    pub waiting: Waiting,
    /// Beginning of the wait.
    pub since: Timestamp,
    /// End of the wait at the latest; `None` sets no limit.
    pub until: Option<Timestamp>,
}

/// The conditions that can be waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waiting {
    /// The candidate's instances to become healthy.
    Instances {
        /// The release.
        release: Label,
        /// Number of instances Serving and Up.
        ready: u16,
        /// Number of instances required.
        wanted: u16,
        /// The result of the last bad probe.
        note: Option<String>,
    },
    /// The host to prepare the candidate's files and start its processes.
    Files {
        /// The release.
        release: Label,
        /// How far the host has fetched them from the server, or why it does not come further.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// The host to name free ports.
    Ports,
    /// A person to run `segue promote`.
    Promote,
    /// Every worker of every proxy to acknowledge a snapshot.
    Acknowledgement {
        /// The snapshot.
        generation: Generation,
    },
    /// The time of a step, or the pause between two batches, to pass.
    Step {
        /// The candidate's share during the step.
        share: Share,
    },
    /// A person to run `segue resume`.
    Resume {
        /// The failure that paused the rollout; `None` if a person asked for the pause.
        because: Option<String>,
    },
    /// The watch after the switch to end.
    Watch,
    /// Requests in flight to finish.
    Drain {
        /// Instances that still drain.
        instances: u16,
        /// Requests in flight on them.
        in_flight: u32,
    },
    /// Processes to end.
    Stop {
        /// Instances that were told to stop.
        instances: u16,
    },
    /// The time between two starts of a release that keeps dying.
    BackOff {
        /// The release.
        release: Label,
        /// Deaths in a row.
        crashes: u32,
    },
    /// An instance that is Down to recover.
    Recovery {
        /// The instance.
        instance: InstanceId,
        /// The result of the last bad probe.
        note: Option<String>,
    },
    /// A host that is silent or lost to be heard again.
    Host {
        /// The host.
        host: HostId,
        /// Number of the app's instances there that should serve.
        instances: u16,
    },
    /// A host that a rollout went on without, to be tried again.
    HostAside(HostAside),
    /// A proxy that is late or lost to be heard again, because it may send users to instances that are to be
    /// stopped.
    LostProxy {
        /// The proxy.
        proxy: ProxyId,
        /// Number of these instances.
        instances: u16,
    },
    /// A proxy to be heard that could send users to a release.
    NoProxy,
    /// Members to be heard again after so many fell silent at once that the network of the server itself may be
    /// at fault.
    SuspectsItself {
        /// Number of hosts and proxies that are not heard.
        silent: u16,
        /// Number of hosts and proxies on other machines.
        of: u16,
    },
    /// An instance that is busy with requests to answer its probes again.
    Busy {
        /// The instance.
        instance: InstanceId,
        /// Requests in flight on it.
        in_flight: u32,
        /// The result of the last probe.
        note: Option<String>,
    },
}

impl Reason {
    /// Returns the sentence for people, as of `now`.
    pub fn sentence(&self, now: Timestamp) -> String {
        use fmt::Write as _;
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(text, "waiting for {}", self.waiting);
        let _ = write!(text, ", since {}", now.since(self.since));
        if let Some(until) = self.until {
            let _ = write!(text, ", for {} more at most", until.since(now));
            let _ = write!(text, ", then {}", self.waiting.afterwards());
        }
        text
    }
}

impl Waiting {
    /// Returns what happens at the end of the wait.
    fn afterwards(&self) -> &'static str {
        match self {
            Self::Instances { .. } | Self::Files { .. } | Self::Ports => {
                "the rollout is given up and what is live stays live"
            }
            Self::Promote
            | Self::Resume { .. }
            | Self::Acknowledgement { .. }
            | Self::HostAside(_)
            | Self::NoProxy
            | Self::SuspectsItself { .. } => "it is asked again",
            Self::LostProxy { .. } => "the app is opened again",
            Self::Step { .. } => "the next step begins",
            Self::Watch => "the release is settled",
            Self::Drain { .. } => "what is still in flight is cut off",
            Self::Stop { .. } => "the processes are killed",
            Self::BackOff { .. } => "it is started again",
            Self::Recovery { .. } => "it is replaced",
            Self::Host { .. } => "others are started elsewhere",
            Self::Busy { .. } => "it counts as down, unless it makes progress",
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instances { release, ready, wanted, note } => {
                write!(f, "{release} to become healthy ({ready} of {wanted} ready")?;
                match note {
                    Some(note) => write!(f, "; last probe: {note})"),
                    None => f.write_str(")"),
                }
            }
            Self::Files { release, note } => {
                write!(f, "the host to lay out the files of {release} and start it")?;
                note.as_ref().map_or(Ok(()), |note| write!(f, " ({note})"))
            }
            Self::Ports => f.write_str("free ports on the host"),
            Self::Promote => f.write_str("somebody to say `segue promote`"),
            Self::Acknowledgement { generation } => {
                write!(f, "every proxy worker to acknowledge snapshot {generation}")
            }
            Self::Step { share } => write!(f, "the next step, with {share} of the users moved"),
            Self::Resume { because: None } => f.write_str("somebody to say `segue resume`"),
            Self::Resume { because: Some(why) } => {
                write!(f, "somebody to say `segue resume` or `segue abort`: {why}")
            }
            Self::Watch => f.write_str("the watch after the switch to end"),
            Self::Drain { instances, in_flight } => {
                let requests = if *in_flight == 1 { "request" } else { "requests" };
                let these = if *instances == 1 { "instance" } else { "instances" };
                write!(f, "{in_flight} {requests} in flight on {instances} draining {these}")
            }
            Self::Stop { instances: 1 } => f.write_str("1 instance to end"),
            Self::Stop { instances } => write!(f, "{instances} instances to end"),
            Self::BackOff { release, crashes } => {
                write!(f, "the next start of {release}, which died {crashes} times in a row")
            }
            Self::Recovery { instance, note } => {
                write!(f, "{instance} to recover")?;
                note.as_ref().map_or(Ok(()), |note| write!(f, " (last probe: {note})"))
            }
            Self::Host { host, instances } => {
                let these = if *instances == 1 { "instance" } else { "instances" };
                write!(f, "{host} to be heard again ({instances} {these} there)")
            }
            Self::HostAside(HostAside { host, why }) => {
                write!(f, "{host} to be tried again by the next deploy or restart: {why}")
            }
            Self::LostProxy { proxy, instances } => {
                let these = if *instances == 1 { "instance" } else { "instances" };
                write!(f, "{proxy} to be heard again (it may send users to {instances} {these} ")?;
                f.write_str("that are to be stopped)")
            }
            Self::NoProxy => {
                f.write_str("a proxy to be heard: none is here to send users anywhere")
            }
            Self::SuspectsItself { silent, of } => {
                write!(
                    f,
                    "members to be heard again, or somebody to say `segue resume`: {silent} of {of} "
                )?;
                f.write_str("fell silent at once, so the server suspects its own network")
            }
            Self::Busy { instance, in_flight, note } => {
                let requests = if *in_flight == 1 { "request is" } else { "requests are" };
                write!(
                    f,
                    "{instance} to answer its probes while {in_flight} {requests} in flight"
                )?;
                note.as_ref().map_or(Ok(()), |note| write!(f, " (last probe: {note})"))
            }
        }
    }
}

/// Why there is no warm release to go back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotReady {
    /// There has never been another release.
    NoPrevious,
    /// The policy `standby = "none"` or the end of its time has retired the release.
    NotKept {
        /// The retired release.
        release: Option<ReleaseNo>,
    },
    /// A rollback left the release, or segue reverted it.
    MarkedBad {
        /// The release.
        release: ReleaseNo,
        /// Why it is bad.
        why: String,
    },
    /// Not all of its instances are healthy.
    NotWhole {
        /// The release.
        release: ReleaseNo,
        /// Number of instances Serving and Up.
        ready: u16,
        /// Number of instances required.
        wanted: u16,
        /// The exit of the last instance that died.
        died: Option<Exit>,
    },
    /// No release is live yet.
    NothingServed,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPrevious => f.write_str("there is no release before the live one"),
            Self::NotKept { release: Some(release) } => {
                write!(f, "release {release} was stopped by the standby policy")
            }
            Self::NotKept { release: None } => f.write_str("no standby is kept"),
            Self::MarkedBad { release, why } => write!(f, "release {release} is marked bad: {why}"),
            Self::NotWhole { release, ready, wanted, died } => {
                write!(f, "only {ready} of {wanted} instances of release {release} are healthy")?;
                died.map_or(Ok(()), |exit| write!(f, "; the last one that died {exit}"))
            }
            Self::NothingServed => f.write_str("no release is live yet"),
        }
    }
}
