//! Members and their server over real sockets: joining, sessions that break and come back, who is heard, and
//! content.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::time::Duration;

use common::{Fleet, Said, command, traffic};
use identity::{InviteSecret, MemberKey};
use link::{ContentRequest, ControlRun, Fetcher, FromMember, LinkError, MemberEnded, ToMember};
use model::{Digest, HostReport, InstanceId, Role};
use tokio::io::AsyncReadExt as _;

const FIRST: ControlRun = ControlRun { term: 1, run: 1 };

fn report(number: u64) -> FromMember {
    let id = InstanceId { app: "web".parse().unwrap(), number };
    FromMember::Report { report: HostReport::Running { id, pid: 1 } }
}

#[test]
fn a_member_joins_with_its_invite_and_both_ends_hear_each_other() {
    let fleet = Fleet::new();
    let host = fleet.joins(Role::Host, "web-1");
    fleet.wait(|said| matches!(said, Said::Connected(name) if name == "web-1"));
    host.to_server.send(report(7));
    fleet.wait(|said| matches!(said, Said::Message(name, message) if name == "web-1" && *message == report(7)));
    fleet.to_members().send(&"web-1".parse().unwrap(), command(FIRST, 20_001));
    assert_eq!(host.received(), command(FIRST, 20_001));
}

#[test]
fn an_invite_is_good_for_one_key() {
    let fleet = Fleet::new();
    let invite = fleet.invite(Role::Host, "web-1");
    let key = |name: &str| MemberKey::open_or_create(&fleet.folder().join(name)).unwrap();
    fleet.block_on(link::join(&invite, key("mine"))).unwrap();
    // The answer may have been lost: the same key asks again.
    fleet.block_on(link::join(&invite, key("mine"))).unwrap();
    let error = fleet.block_on(link::join(&invite, key("another"))).unwrap_err();
    assert!(error.to_string().contains("refuses: the invite was used"), "{error}");
    let forged = identity::Invite { secret: InviteSecret::draw().unwrap(), ..invite };
    let error = fleet.block_on(link::join(&forged, key("forged"))).unwrap_err();
    assert!(error.to_string().contains("refuses: there is no such invite"), "{error}");
}

#[test]
fn an_invite_of_another_fleet_gets_no_secret_out_of_a_member() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let invite = fleet.invite(Role::Host, "web-1");
    let stolen = identity::Invite { addresses: vec![other.address()], ..invite };
    let key = MemberKey::open_or_create(&fleet.folder().join("key")).unwrap();
    let error = fleet.block_on(link::join(&stolen, key)).unwrap_err();
    assert!(matches!(error, LinkError::Connect { .. }), "{error}");
    assert_eq!(other.redeemed(), 0);
}

#[test]
fn a_member_of_another_fleet_is_not_let_in() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let stranger = other.credentials(Role::Host, "web-1");
    let host = fleet.runs(stranger);
    let why = host.disconnected();
    assert!(why.contains("cannot connect") || why.contains("cannot open"), "{why}");
    assert!(fleet.said().is_empty(), "{:?}", fleet.said());
}

#[test]
fn a_member_comes_back_when_its_server_does() {
    let mut fleet = Fleet::new();
    let host = fleet.joins(Role::Host, "web-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    fleet.close_door();
    host.disconnected();
    fleet.open_door();
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    host.to_server.send(report(8));
    fleet.wait(|said| matches!(said, Said::Message(_, message) if *message == report(8)));
}

/// A session that it began with while nobody knew it would be worth nothing.
#[test]
fn a_member_that_is_there_before_the_server_knows_it_comes_back() {
    let fleet = Fleet::new();
    fleet.knows_its_members(false);
    let host = fleet.joins(Role::Host, "web-1");
    host.disconnected();
    assert!(fleet.knows_its_members(true) > 0);
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    host.to_server.send(report(8));
    fleet.wait(|said| matches!(said, Said::Message(_, message) if *message == report(8)));
}

#[test]
fn a_cut_link_is_told_as_silence_and_healed_by_both_ends() {
    let fleet = Fleet::new();
    let relay = fleet.relay();
    let host = fleet.joins_through(&relay, Role::Host, "web-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    relay.cut();
    fleet.wait(|said| matches!(said, Said::Silent(name, _) if name == "web-1"));
    host.disconnected();
    relay.heal();
    fleet.wait(|said| matches!(said, Said::Connected(_)));
}

#[test]
fn a_message_that_does_not_get_through_ends_the_session_and_says_so() {
    let fleet = Fleet::new();
    let relay = fleet.relay();
    let _host = fleet.joins_through(&relay, Role::Host, "web-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    // What the member says still comes, small as it is. What is sent to it stays on the way.
    relay.cut_to_member();
    let except = vec![20_000; 2 << 20];
    let command = model::HostCommand::OfferPorts { except };
    fleet.to_members().send(&"web-1".parse().unwrap(), ToMember::Host { by: FIRST, command });
    fleet.wait(|said| matches!(said, Said::Silent(_, why) if why.contains("did not get through")));
}

#[test]
fn who_was_removed_is_told_so_and_is_heard_no_more() {
    let fleet = Fleet::new();
    let host = fleet.joins(Role::Host, "web-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    fleet.remove("web-1");
    assert_eq!(host.ended(), MemberEnded::Removed);
    // With the same keys it is told so again, and can neither renew nor fetch.
    let again = fleet.runs(fleet.kept_credentials("web-1"));
    assert_eq!(again.ended(), MemberEnded::Removed);
    let fetcher = fleet.fetcher("web-1");
    let error = fleet.block_on(fetch(&fetcher, blob(0))).unwrap_err();
    assert!(error.contains("only hosts of the fleet get content"), "{error}");
    let connected = |said: &Said| matches!(said, Said::Connected(_));
    assert_eq!(fleet.said().iter().filter(|said| connected(said)).count(), 0);
}

/// Whoever holds connections open without a word, or sends what is no TLS, keeps nobody out.
#[test]
fn strangers_at_the_door_keep_no_member_out() {
    let fleet = Fleet::new();
    let door = fleet.address().parse().unwrap();
    let strangers: Vec<_> = (0..300).map(|_| common::stranger(door)).collect();
    for (stranger, number) in strangers.iter().zip(0_u32..) {
        if number % 2 == 0 {
            // The door may have closed it already.
            let _ = std::io::Write::write_all(&mut &*stranger, &[number as u8; 600]);
        }
    }
    let host = fleet.joins(Role::Host, "web-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    host.to_server.send(report(9));
    fleet.wait(|said| matches!(said, Said::Message(_, message) if *message == report(9)));
}

/// A client without a certificate may join and nothing else.
#[test]
fn a_client_without_a_certificate_gets_nothing_but_the_way_to_join() {
    let fleet = Fleet::new();
    for path in ["GET /link", "POST /renew", "GET /content/blob/web/0/0", "GET /", "POST /join"] {
        let answer = fleet.ask_as_nobody(path);
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(status == "403" || status == "404", "{path}: {answer}");
    }
    assert_eq!(fleet.redeemed(), 0);
}

#[test]
fn a_member_says_only_what_its_role_may_say() {
    let fleet = Fleet::new();
    let proxy = fleet.joins(Role::Proxy, "lb-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    proxy.to_server.send(report(1));
    proxy.disconnected();
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    proxy.to_server.send(traffic(3));
    fleet.wait(|said| matches!(said, Said::Message(_, message) if *message == traffic(3)));
    let reported = |said: &Said| matches!(said, Said::Message(_, FromMember::Report { .. }));
    assert!(!fleet.said().iter().any(reported));
    let error = fleet.block_on(fetch(&fleet.fetcher("lb-1"), blob(0))).unwrap_err();
    assert!(error.contains("only hosts of the fleet get content"), "{error}");
}

#[test]
fn a_control_that_was_replaced_commands_nobody() {
    let fleet = Fleet::new();
    let host = fleet.joins(Role::Host, "web-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    let send = |by, port| fleet.to_members().send(&"web-1".parse().unwrap(), command(by, port));
    let second = ControlRun { term: 2, run: 5 };
    send(FIRST, 1);
    send(second, 2);
    send(FIRST, 3);
    send(ControlRun { term: 2, run: 6 }, 4);
    send(second, 5);
    let received: Vec<_> = (0..3).map(|_| host.received()).collect();
    assert_eq!(received, [command(FIRST, 1), command(second, 2), command(second, 5)]);
}

#[test]
fn a_control_that_was_replaced_moves_no_traffic() {
    let fleet = Fleet::new();
    let proxy = fleet.joins(Role::Proxy, "lb-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    let send = |message| fleet.to_members().send(&"lb-1".parse().unwrap(), message);
    let second = ControlRun { term: 2, run: 5 };
    let keys = |text: &str| ToMember::CookieKeys { by: second, keys: text.to_owned().into() };
    send(keys("a"));
    for by in [FIRST, ControlRun { term: 2, run: 6 }] {
        send(ToMember::Settings { by, settings: Default::default() });
        send(ToMember::CookieKeys { by, keys: String::new().into() });
        send(ToMember::Reach { by, targets: Default::default() });
        send(ToMember::Prepare { by, snapshot: Default::default() });
        send(ToMember::Commit { by, generation: Default::default() });
        send(ToMember::Health { by, table: Default::default() });
    }
    send(keys("b"));
    assert_eq!([proxy.received(), proxy.received()], [keys("a"), keys("b")]);
}

#[test]
fn the_newest_session_of_a_member_is_the_one() {
    let fleet = Fleet::new();
    let first = fleet.joins(Role::Host, "web-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    let second = fleet.runs(fleet.kept_credentials("web-1"));
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    first.disconnected();
    drop(first);
    fleet.to_members().send(&"web-1".parse().unwrap(), command(FIRST, 9));
    assert_eq!(second.received(), command(FIRST, 9));
}

fn blob(from: u64) -> ContentRequest {
    ContentRequest::Blob { app: "web".parse().unwrap(), digest: Digest::from_bytes([7; 32]), from }
}

async fn fetch(fetcher: &Fetcher, wanted: ContentRequest) -> Result<Vec<u8>, String> {
    let mut reader = fetcher.fetch(&wanted).await.map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    reader.read_to_end(&mut all).await.map_err(|_| format!("broken off at {}", all.len()))?;
    Ok(all)
}

#[test]
fn content_is_fetched_from_where_it_broke_off() {
    let fleet = Fleet::new();
    let _host = fleet.joins(Role::Host, "web-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    let fetcher = fleet.fetcher("web-1");
    let whole = fleet.block_on(fetch(&fetcher, blob(0))).unwrap();
    assert_eq!(whole, common::content());
    let rest = fleet.block_on(fetch(&fetcher, blob(300_000))).unwrap();
    assert_eq!(rest, common::content()[300_000..]);
    let app = "web".parse().unwrap();
    let unknown = ContentRequest::Blob { app, digest: Digest::from_bytes([8; 32]), from: 0 };
    let error = fleet.block_on(fetch(&fetcher, unknown)).unwrap_err();
    assert!(error.contains("refuses: no release of this host needs it"), "{error}");
}

#[test]
fn content_whose_connection_breaks_is_not_taken_for_whole() {
    let fleet = Fleet::new();
    let relay = fleet.relay();
    let _host = fleet.joins_through(&relay, Role::Host, "web-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    let fetcher = fleet.fetcher_through(&relay, "web-1");
    relay.break_after(200_000);
    let error = fleet.block_on(fetch(&fetcher, blob(0))).unwrap_err();
    assert!(error.starts_with("broken off at"), "{error}");
}

#[test]
fn a_certificate_that_ran_out_renews_itself_and_nothing_else() {
    let fleet = Fleet::new();
    let _joined = fleet.joins(Role::Host, "web-1");
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    let old = fleet.credentials_of_age("web-1", Duration::from_hours(24 * 40));
    let until = old.own().validity.until;
    let host = fleet.runs(old);
    let renewed = host.renewed();
    assert!(renewed > until + Duration::from_hours(24 * 30));
    fleet.wait(|said| matches!(said, Said::Connected(_)));
    let too_old = fleet.credentials_of_age("web-1", Duration::from_hours(24 * 91));
    let why = fleet.runs(too_old).disconnected();
    assert!(why.contains("cannot open a session"), "{why}");
}
