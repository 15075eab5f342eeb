//! `segue fleet`: shows the members of the fleet, invites and removes them.

use std::time::Duration;

use model::HostDuty;
use wire::{
    ApiClient, DutyRequest, FleetStatus, HostStatus, InviteRequest, MemberState, ProxyStatus,
};

use crate::args::{
    ConnectionOptions, FleetOptions, FleetVerb, HostOptions, InviteOptions, InvitedRole,
    RemoveMemberOptions,
};
use crate::style::{BAD, BOLD, DIM, GOOD, Style, WARN};
use crate::text::{TableCell, table};
use crate::{CommandError, ExitStatus, Io};

/// The time between two looks at a host that drains.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &FleetOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    match &options.verb {
        None => show(connection, options.json, io),
        Some(FleetVerb::Invite(options)) => invite(connection, options, io),
        Some(FleetVerb::Cordon(options)) => {
            set_duty(connection, options, HostDuty::Cordoned, io).map(|_| ExitStatus::Done)
        }
        Some(FleetVerb::Uncordon(options)) => {
            set_duty(connection, options, HostDuty::Active, io).map(|_| ExitStatus::Done)
        }
        Some(FleetVerb::Drain(options)) => drain(connection, options, io),
        Some(FleetVerb::Remove(options)) => remove(connection, options, io),
    }
}

fn show(
    connection: &ConnectionOptions,
    as_json: bool,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let act = "show the fleet";
    let client = connection.client(act)?;
    let fleet = client.fleet().map_err(|error| CommandError::client(act, &error))?;
    if as_json {
        io.json(&fleet);
        return Ok(ExitStatus::Done);
    }
    for line in lines(&fleet, io) {
        io.data(line);
    }
    Ok(ExitStatus::Done)
}

fn lines(fleet: &FleetStatus, io: &Io<'_>) -> Vec<String> {
    let head = ["MEMBER", "ROLE", "STATE", "ADDRESS", "INSTANCES", "VERSION", "LABELS"];
    let mut rows: Vec<Vec<TableCell>> =
        vec![head.map(|text| TableCell::new(text).style(DIM)).into()];
    let date = |since: Option<u64>| since.map(|ms| io.date(ms));
    for host in &fleet.hosts {
        let HostStatus { name, address, state, labels, instances, version, since, .. } = host;
        let state = match (state, host.draining, host.cordoned) {
            (MemberState::Here, true, _) => TableCell::new("here, draining").style(WARN),
            (MemberState::Here, false, true) => TableCell::new("here, cordoned").style(WARN),
            (state, _, _) => cell(*state, date(*since)),
        };
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        rows.push(vec![
            TableCell::new(name).style(BOLD),
            TableCell::new("host"),
            state,
            TableCell::new(address.map_or_else(|| "-".into(), |address| address.to_string())),
            TableCell::new(instances.to_string()).right(),
            TableCell::new(version.as_deref().unwrap_or("-")),
            TableCell::new(labels.join(",")),
        ]);
    }
    for proxy in &fleet.proxies {
        let ProxyStatus { name, state, ready, version, since, .. } = proxy;
        rows.push(vec![
            TableCell::new(name).style(BOLD),
            TableCell::new("proxy"),
            match (state, ready) {
                (MemberState::Here, false) => TableCell::new("here, without a table").style(WARN),
                (state, _) => cell(*state, date(*since)),
            },
            TableCell::new("-"),
            TableCell::new(""),
            TableCell::new(version.as_deref().unwrap_or("-")),
            TableCell::new(""),
        ]);
    }
    let mut lines = table(0, &rows);
    let hosts = fleet.hosts.iter().map(|host| (&host.name, &host.reason));
    let proxies = fleet.proxies.iter().map(|proxy| (&proxy.name, &proxy.reason));
    for (name, reason) in hosts.chain(proxies) {
        lines.extend(reason.as_ref().map(|reason| format!("{name}: {reason}")));
    }
    lines
}

fn cell(state: MemberState, since: Option<String>) -> TableCell {
    let (text, style): (&str, Style) = match state {
        MemberState::Here => ("here", GOOD),
        MemberState::Silent => ("silent", BAD),
        MemberState::Late => ("late", BAD),
        MemberState::Lost => ("lost", BAD),
        MemberState::Joined => ("not here", DIM),
    };
    let away = matches!(state, MemberState::Silent | MemberState::Late | MemberState::Lost);
    let text = match since.filter(|_| away) {
        Some(since) => format!("{text} since {since}"),
        None => text.to_owned(),
    };
    TableCell::new(text).style(style)
}

/// Prints the invite alone on stdout, so that it can be piped to the machine that joins.
fn invite(
    connection: &ConnectionOptions,
    options: &InviteOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let InviteOptions { role, name, labels, address, replace } = options;
    let act = format!("invite {name}");
    let client = connection.client(&act)?;
    let (role, next) = match role {
        InvitedRole::Host => (model::Role::Host, "segue agent --data DIR --join INVITE"),
        InvitedRole::Proxy => {
            (model::Role::Proxy, "segue proxy --data DIR --join INVITE --listen ADDR:PORT")
        }
    };
    let request = InviteRequest {
        role,
        name: name.clone(),
        address: *address,
        labels: labels.iter().cloned().collect(),
        replace: *replace,
    };
    let invited = client.invite(&request).map_err(|error| CommandError::client(&*act, &error))?;
    io.data(invited.invite.expose());
    io.say(&invited.note);
    io.say(format!("on that machine: {next}"));
    Ok(ExitStatus::Done)
}

/// Says what a host is used for from now on.
fn set_duty(
    connection: &ConnectionOptions,
    HostOptions { host }: &HostOptions,
    duty: HostDuty,
    io: &mut Io<'_>,
) -> Result<ApiClient, CommandError> {
    let verb = match duty {
        HostDuty::Active => "uncordon",
        HostDuty::Cordoned => "cordon",
        HostDuty::Draining => "drain",
    };
    let act = format!("{verb} {host}");
    let client = connection.client(&act)?;
    let changed = client.set_duty(host, &DutyRequest { duty });
    io.say(&changed.map_err(|error| CommandError::client(act, &error))?.note);
    Ok(client)
}

/// Drains a host, and waits until it has no instance.
fn drain(
    connection: &ConnectionOptions,
    options: &HostOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let HostOptions { host } = options;
    let act = format!("drain {host}");
    let client = set_duty(connection, options, HostDuty::Draining, io)?;
    let mut told = None;
    loop {
        let fleet = client.fleet().map_err(|error| CommandError::client(&*act, &error))?;
        let state = fleet.hosts.iter().find(|state| state.name == host.as_str());
        let Some(state) = state.filter(|state| state.draining) else {
            return Err(CommandError::because(act, "somebody has changed what it is used for"));
        };
        let left = state.instances;
        if left == 0 {
            io.say(format!("{host} has no instance"));
            return Ok(ExitStatus::Done);
        }
        if told != Some(left) {
            let noun = if left == 1 { "instance" } else { "instances" };
            io.say(format!("{left} {noun} left; `segue status` says what each app waits for"));
            told = Some(left);
        }
        // It waits: for other hosts to take over.
        std::thread::sleep(LOOK);
    }
}

fn remove(
    connection: &ConnectionOptions,
    options: &RemoveMemberOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let RemoveMemberOptions { name, now } = options;
    let act = format!("remove {name}");
    let client = connection.client(&act)?;
    let changed = client.remove_member(name, *now).map_err(|e| CommandError::client(&*act, &e))?;
    io.say(&changed.note);
    Ok(ExitStatus::Done)
}
