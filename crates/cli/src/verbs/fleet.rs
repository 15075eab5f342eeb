//! `segue fleet`: shows the members of the fleet, invites and removes them.

use wire::{
    AcceptRequest, AddressRequest, FleetStatus, HostStatus, InviteRequest, MemberState, ProxyStatus,
};

use super::{firewall, keepalived, member_duty};
use crate::args::{
    AcceptOptions, AddressOptions, ConnectionOptions, FleetOptions, FleetVerb, InviteOptions,
    InvitedRole, RemoveMemberOptions,
};
use crate::style::{BAD, BOLD, DIM, GOOD, Style, WARN};
use crate::text::{TableCell, table};
use crate::{CommandError, ExitStatus, Io};

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &FleetOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    match &options.verb {
        None => show(connection, options.json, io),
        Some(FleetVerb::Invite(options)) => invite(connection, options, io),
        Some(FleetVerb::Cordon(options)) => member_duty::cordon(connection, options, io),
        Some(FleetVerb::Uncordon(options)) => member_duty::uncordon(connection, options, io),
        Some(FleetVerb::Drain(options)) => member_duty::drain(connection, options, io),
        Some(FleetVerb::Accept(options)) => accept(connection, options, io),
        Some(FleetVerb::Address(options)) => set_address(connection, options, io),
        Some(FleetVerb::Firewall(options)) => firewall::run(connection, options, io),
        Some(FleetVerb::Keepalived(options)) => keepalived::run(connection, options, io),
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
        let ProxyStatus { name, address, state, ready, draining, drain, version, since, .. } =
            proxy;
        rows.push(vec![
            TableCell::new(name).style(BOLD),
            TableCell::new("proxy"),
            match (state, draining, ready) {
                (MemberState::Here, true, _) if drain.is_some_and(|drain| drain.done) => {
                    TableCell::new("here, drained").style(WARN)
                }
                (MemberState::Here, true, _) => TableCell::new("here, draining").style(WARN),
                (MemberState::Here, false, false) => {
                    TableCell::new("here, without a table").style(WARN)
                }
                (state, _, _) => cell(*state, date(*since)),
            },
            TableCell::new(address.map_or_else(|| "-".into(), |address| address.to_string())),
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
    let owed = fleet.hosts.iter().filter(|host| host.owed > 0);
    lines.extend(
        owed.map(|host| format!("{}: instances are stopped there when it is back", host.name)),
    );
    lines.extend(fleet.unknown.iter().map(|name| {
        format!(
            "{name}: not known here, with a certificate of this fleet; `segue fleet accept {name}`"
        )
    }));
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

fn accept(
    connection: &ConnectionOptions,
    AcceptOptions { name, labels, address }: &AcceptOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let act = format!("accept {name}");
    let client = connection.client(&act)?;
    let request = AcceptRequest { address: *address, labels: labels.iter().cloned().collect() };
    let changed = client.accept_member(name, &request);
    io.say(&changed.map_err(|error| CommandError::client(act, &error))?.note);
    Ok(ExitStatus::Done)
}

fn set_address(
    connection: &ConnectionOptions,
    AddressOptions { host, address }: &AddressOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let act = format!("change the address of {host}");
    let client = connection.client(&act)?;
    let changed = client.set_address(host, &AddressRequest { address: *address });
    io.say(&changed.map_err(|error| CommandError::client(act, &error))?.note);
    Ok(ExitStatus::Done)
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
