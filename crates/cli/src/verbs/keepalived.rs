//! `segue fleet keepalived`: prints the configurations with which keepalived gives a floating address to one of
//! several proxies. They differ in place and source only.

use std::fmt::Write as _;
use std::net::IpAddr;

use wire::FleetStatus;

use crate::args::{ConnectionOptions, KeepalivedOptions, NamedProxy};
use crate::{CommandError, ExitStatus, Io};

/// The priority of the first proxy; each one after it has one less.
const FIRST: usize = 200;
/// The largest number of proxies: the last place must not count more than that one has the address already.
const MOST: usize = 20;

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &KeepalivedOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let act = "print the configuration of keepalived";
    let places = places(connection, act, options)?;
    if let Some(only) = &options.only {
        let place = places.iter().position(|(name, _)| name == only.as_str());
        let place = place.ok_or_else(|| {
            CommandError::because(act, format!("{only} is not in the list of proxies"))
        })?;
        io.data(configuration(&places, place, options).trim_end());
        return Ok(ExitStatus::Done);
    }
    for (place, (name, _)) in places.iter().enumerate() {
        io.data(format!("# {name}: /etc/keepalived/keepalived.conf"));
        io.data(configuration(&places, place, options));
    }
    Ok(ExitStatus::Done)
}

/// Returns the proxies in their order, each with the address at which the others reach it.
fn places(
    connection: &ConnectionOptions,
    act: &str,
    options: &KeepalivedOptions,
) -> Result<Vec<(String, IpAddr)>, CommandError> {
    let failed = |why: String| CommandError::because(act, why);
    let KeepalivedOptions { proxies, floating, .. } = options;
    if proxies.len() > MOST {
        return Err(failed(format!("there are more than {MOST} proxies")));
    }
    let known = match proxies.iter().all(|proxy| proxy.address.is_some()) {
        true => FleetStatus::default(),
        false => {
            connection.client(act)?.fleet().map_err(|error| CommandError::client(act, &error))?
        }
    };
    let mut places = Vec::<(String, IpAddr)>::new();
    for NamedProxy { name, address } in proxies {
        let member = known.proxies.iter().find(|proxy| proxy.name == name.as_str());
        let address = address.or(member.and_then(|member| member.address)).ok_or_else(|| {
            let why = match member {
                Some(_) => format!("the address of {name} is not known: it has not connected"),
                None => format!("there is no proxy {name}"),
            };
            failed(why).hint(format!("`segue fleet` lists them; or give it: {name}=IP"))
        })?;
        if address.is_ipv4() != floating.address.is_ipv4() {
            let why = format!(
                "{name} is at {address}, and {} is of the other version of IP",
                floating.address
            );
            return Err(failed(why).hint(format!("give its address of that version: {name}=IP")));
        }
        let same = |(other, at): &&(String, IpAddr)| *other == name.as_str() || *at == address;
        if let Some((other, _)) = places.iter().find(same) {
            let why = format!("{other} and {name} are the same proxy, or have one address");
            return Err(failed(why));
        }
        if address == floating.address {
            return Err(failed(format!("{address} is {name}'s own address, which cannot float")));
        }
        places.push((name.to_string(), address));
    }
    Ok(places)
}

/// Returns the configuration of the proxy at a place.
fn configuration(places: &[(String, IpAddr)], place: usize, options: &KeepalivedOptions) -> String {
    let KeepalivedOptions { floating, interface, router_id, track_file, .. } = options;
    let (name, address) = &places[place];
    let mut peers = String::new();
    for (_, peer) in places.iter().enumerate().filter(|(at, _)| *at != place) {
        // Writing to a string cannot fail.
        let _ = writeln!(peers, "        {}", peer.1);
    }
    let (file, priority) = (track_file.display(), FIRST - place);
    let (ip, prefix) = (floating.address, floating.prefix);
    format!(
        r#"global_defs {{
    router_id {name}
    vrrp_version 3
    vrrp_garp_master_refresh 10
}}

# The proxy writes what is added to the priority; what is below -253 gives the address up.
track_file segue {{
    file "{file}"
    weight 1
    init_file -254
}}

vrrp_instance segue {{
    state BACKUP
    interface {interface}
    virtual_router_id {router_id}
    priority {priority}
    advert_int 0.1
    unicast_src_ip {address}
    unicast_peer {{
{peers}    }}
    track_file {{
        segue
    }}
    virtual_ipaddress {{
        {ip}/{prefix} dev {interface}
    }}
}}
"#
    )
}
