//! `segue fleet cordon`, `uncordon` and `drain`: what a member is used for.

use std::time::{Duration, Instant};

use model::{HostDuty, HostId, MemberName};
use wire::{
    ApiClient, DutyRequest, FleetStatus, HostStatus, MemberState, ProxyDrain, ProxyDutyRequest,
    ProxyStatus,
};

use crate::args::{ConnectionOptions, DrainOptions, HostOptions, MemberOptions};
use crate::{CommandError, ExitStatus, Io};

/// The time between two looks at a member that drains.
const LOOK: Duration = Duration::from_millis(200);
/// The time between two numbers of connections that are said, which change all the time.
const SAY: Duration = Duration::from_secs(2);

/// Lets a host get nothing new.
pub(crate) fn cordon(
    connection: &ConnectionOptions,
    HostOptions { host }: &HostOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let act = format!("cordon {host}");
    let client = connection.client(&act)?;
    set_host_duty(&client, &act, host, HostDuty::Cordoned, io)?;
    Ok(ExitStatus::Done)
}

/// Lets a member take part again.
pub(crate) fn uncordon(
    connection: &ConnectionOptions,
    MemberOptions { name }: &MemberOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let act = format!("uncordon {name}");
    let client = connection.client(&act)?;
    if is_proxy(&client, &act, name)? {
        set_proxy_duty(&client, &act, name, &ProxyDutyRequest::Active, io)?;
    } else {
        set_host_duty(&client, &act, &name.as_host(), HostDuty::Active, io)?;
    }
    Ok(ExitStatus::Done)
}

/// Takes a member out of service, and waits until it is.
pub(crate) fn drain(
    connection: &ConnectionOptions,
    DrainOptions { name, within }: &DrainOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let act = format!("drain {name}");
    let client = connection.client(&act)?;
    if is_proxy(&client, &act, name)? {
        let duty = ProxyDutyRequest::Draining { within: *within };
        set_proxy_duty(&client, &act, name, &duty, io)?;
        return proxy_drains(&client, &act, name, io);
    }
    if within.is_some() {
        let why = "--within is for a proxy: the instances of a host drain as their apps say";
        return Err(CommandError::because(act, why).hint("leave out --within"));
    }
    set_host_duty(&client, &act, &name.as_host(), HostDuty::Draining, io)?;
    host_drains(&client, &act, &name.as_host(), io)
}

/// Returns whether this is the name of a proxy and of no host. The server's own machine is both.
fn is_proxy(client: &ApiClient, act: &str, name: &MemberName) -> Result<bool, CommandError> {
    let FleetStatus { hosts, proxies, .. } =
        client.fleet().map_err(|error| CommandError::client(act, &error))?;
    let is_host = hosts.iter().any(|host| host.name == name.as_str());
    Ok(!is_host && proxies.iter().any(|proxy| proxy.name == name.as_str()))
}

fn set_host_duty(
    client: &ApiClient,
    act: &str,
    host: &HostId,
    duty: HostDuty,
    io: &mut Io<'_>,
) -> Result<(), CommandError> {
    let changed = client.set_duty(host, &DutyRequest { duty });
    io.say(&changed.map_err(|error| CommandError::client(act, &error))?.note);
    Ok(())
}

fn set_proxy_duty(
    client: &ApiClient,
    act: &str,
    proxy: &MemberName,
    duty: &ProxyDutyRequest,
    io: &mut Io<'_>,
) -> Result<(), CommandError> {
    let changed = client.set_proxy_duty(proxy, duty);
    io.say(&changed.map_err(|error| CommandError::client(act, &error))?.note);
    Ok(())
}

/// Waits until a host has no instance.
fn host_drains(
    client: &ApiClient,
    act: &str,
    host: &HostId,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let mut told = None;
    loop {
        let fleet = client.fleet().map_err(|error| CommandError::client(act, &error))?;
        let known = fleet.hosts.iter().find(|known| known.name == host.as_str());
        let Some(HostStatus { instances: left, .. }) = known.filter(|known| known.draining) else {
            return Err(CommandError::because(act, CHANGED));
        };
        if *left == 0 {
            io.say(format!("{host} has no instance"));
            return Ok(ExitStatus::Done);
        }
        if told != Some(*left) {
            let noun = if *left == 1 { "instance" } else { "instances" };
            io.say(format!("{left} {noun} left; `segue status` says what each app waits for"));
            told = Some(*left);
        }
        // It waits: for other hosts to take over.
        std::thread::sleep(LOOK);
    }
}

/// Waits until a proxy has closed the connections of its clients.
fn proxy_drains(
    client: &ApiClient,
    act: &str,
    proxy: &MemberName,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let mut told: Option<(usize, Instant)> = None;
    loop {
        let fleet = client.fleet().map_err(|error| CommandError::client(act, &error))?;
        let known = fleet.proxies.iter().find(|known| known.name == proxy.as_str());
        let known = known.filter(|known| known.draining);
        let Some(ProxyStatus { state, drain, .. }) = known else {
            return Err(CommandError::because(act, CHANGED));
        };
        if !matches!(state, MemberState::Here | MemberState::Late) {
            let hint = "users who come through it are not counted; it drains when it is back";
            return Err(CommandError::because(act, "it is not heard").hint(hint));
        }
        if let Some(ProxyDrain { open: left, cut, done, holds_address }) = *drain {
            if done {
                io.say(drained(proxy, cut));
                if holds_address {
                    io.say("it still has the floating address: no other proxy takes it");
                }
                return Ok(ExitStatus::Done);
            }
            if told.is_none_or(|(open, at)| open != left && at.elapsed() >= SAY) {
                let noun = if left == 1 { "connection" } else { "connections" };
                io.say(format!("{left} {noun} left"));
                told = Some((left, Instant::now()));
            }
        }
        // It waits: for clients to ask once more, or to be idle for too long.
        std::thread::sleep(LOOK);
    }
}

const CHANGED: &str = "somebody has changed what it is used for";

fn drained(proxy: &MemberName, cut: u64) -> String {
    match cut {
        0 => format!("{proxy} is drained; nothing was cut"),
        1 => format!("{proxy} is drained; 1 request was cut"),
        cut => format!("{proxy} is drained; {cut} requests were cut"),
    }
}
