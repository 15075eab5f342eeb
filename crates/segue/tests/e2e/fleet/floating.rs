//! A floating address before two proxies, with the real keepalived: it is where a proxy can serve, and moves only if
//! the other one is better.

use std::io::BufReader;
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::network::Machine;
use super::world::FleetWorld;
use crate::app;
use crate::load::ask;
use crate::world::{PATIENCE, signal};

const LB1: Machine = Machine::Proxy(1);
const LB2: Machine = Machine::Proxy(2);
const FLOATING: &str = "10.77.0.200:8080";

/// Two proxies with a floating address.
struct Floating {
    world: FleetWorld,
    keepalived: Vec<Child>,
}

impl Floating {
    /// Starts two proxies with keepalived, and waits until the first one has the address and serves the app.
    fn start() -> Self {
        let world = FleetWorld::start_with_proxies(1, 2, &app::watch("300ms"));
        let mut floating = Self { world, keepalived: Vec::new() };
        floating.world.deploy("v1");
        for number in [1, 2] {
            floating.world.kill_proxy(number);
            floating.run_proxy(number);
        }
        // Whoever has it first keeps it.
        let first = floating.run_keepalived(1);
        floating.keepalived.push(first);
        floating.world.eventually("the first has it", || floating.is_at(LB1));
        let second = floating.run_keepalived(2);
        floating.keepalived.push(second);
        floating.world.eventually("it serves", || floating.answer().is_ok());
        floating
    }

    fn track_file(&self, number: u8) -> String {
        self.world.file(&format!("floating{number}/priority")).display().to_string()
    }

    fn run_proxy(&mut self, number: u8) {
        self.start_proxy(number);
        self.world.proxy_is_here(number);
    }

    fn start_proxy(&mut self, number: u8) {
        let file = self.track_file(number);
        self.world.start_proxy(number, &["--floating", "10.77.0.200", "--track-file", &file]);
    }

    fn run_keepalived(&self, number: u8) -> Child {
        let machine = Machine::Proxy(number);
        let (name, file) = (machine.name(), self.track_file(number));
        let printed = self.world.segue(&[
            "fleet",
            "keepalived",
            "lb1",
            "lb2",
            "--floating",
            "10.77.0.200/24",
            "--interface",
            "eth0",
            "--only",
            &name,
            "--track-file",
            &file,
        ]);
        assert_eq!(printed.code, Some(0), "{printed:?}");
        let configuration = self.world.file(&format!("{name}.keepalived"));
        std::fs::write(&configuration, printed.stdout).unwrap();
        let at = |option: &str, part: &str| {
            format!("--{option}={}", self.world.file(&format!("{name}.{part}")).display())
        };
        let run = |more: &[&str]| {
            let mut command = self.world.network.on(machine, "/usr/sbin/keepalived");
            command.args(["--vrrp", "--dont-fork", "--log-console"]).args(more);
            command.args([at("use-file", "keepalived"), at("pid", "pid"), at("vrrp_pid", "vrrp")]);
            let log = self.world.log(&format!("{name}-keepalived"));
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
            command.spawn().unwrap()
        };
        assert!(run(&["--config-test"]).wait().unwrap().success(), "{}", self.world.logs());
        run(&[])
    }

    /// Returns whether a machine has the address.
    fn is_at(&self, machine: Machine) -> bool {
        let shown = self.world.network.on(machine, "ip").args(["addr", "show", "eth0"]).output();
        String::from_utf8_lossy(&shown.unwrap().stdout).contains("10.77.0.200/")
    }

    /// Returns the answer that somebody gets who comes to the floating address.
    fn answer(&self) -> Result<String, String> {
        self.world.asks(Machine::Client, FLOATING, "/")
    }

    /// Waits until somebody who tries again and again is served, and returns the time since then.
    fn served_again(&self, since: Instant) -> Duration {
        let (door, address) = (self.world.network.door(Machine::Client), FLOATING.parse().unwrap());
        std::thread::scope(|scope| {
            let tries = scope.spawn(|| {
                super::enter(&door);
                // A client's system would try only once a second.
                let quick = Duration::from_millis(50);
                while since.elapsed() < PATIENCE {
                    let connected = TcpStream::connect_timeout(&address, quick);
                    let mut connection = connected.ok().map(BufReader::new);
                    if connection.is_some() && ask(&mut connection, address, "/").is_ok() {
                        return since.elapsed();
                    }
                    // it waits: the pace of the one who tries
                    std::thread::sleep(Duration::from_millis(10));
                }
                panic!("nobody is served; {}", self.world.logs());
            });
            tries.join().unwrap()
        })
    }

    /// Users who come to the floating address, each of whom asks for a path at this pace, on a new connection each
    /// time or on the one before.
    fn users(&self, path: &'static str, pace: Duration, connects: Connects) -> Users {
        let (stop, door) = (Arc::<AtomicBool>::default(), self.world.network.door(Machine::Client));
        let users = (0..3).map(|number| {
            let (stop, door) = (stop.clone(), door.clone());
            std::thread::spawn(move || {
                super::enter(&door);
                let (mut seen, mut connection) = (Vec::new(), None);
                // it waits: so that at any time somebody is being answered
                std::thread::sleep(Duration::from_millis(70) * number);
                while !stop.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let answer = ask(&mut connection, FLOATING.parse().unwrap(), path);
                    if connects == Connects::EachTime || answer.is_err() {
                        connection = None;
                    }
                    seen.push((answer, asked.elapsed()));
                    // it waits: the pace of the user
                    std::thread::sleep(pace);
                }
                seen
            })
        });
        Users { users: users.collect(), stop }
    }
}

/// How a user comes to the proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connects {
    EachTime,
    Once,
}

/// An answer, and how long it took.
type Answered = (Result<String, String>, Duration);

/// Users at work, each of whom remembers every answer and how long it took.
struct Users {
    users: Vec<JoinHandle<Vec<Answered>>>,
    stop: Arc<AtomicBool>,
}

impl Users {
    /// Ends the users. None may have lost a request. Returns the longest time that an answer took.
    fn served(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.users.into_iter().flat_map(|user| user.join().unwrap());
        let times = seen.map(|(answer, time)| {
            assert!(answer.is_ok(), "{answer:?} after {time:?}");
            time
        });
        times.max().unwrap_or_default()
    }
}

impl Drop for Floating {
    fn drop(&mut self) {
        for keepalived in &mut self.keepalived {
            let _ = keepalived.kill();
            let _ = keepalived.wait();
        }
    }
}

#[test]
fn when_a_proxy_is_killed_the_other_one_has_the_address_within_a_second() {
    let mut floating = Floating::start();
    let mut gaps = Vec::new();
    for (holder, other) in [(1, LB2), (2, LB1), (1, LB2)] {
        floating.world.kill_proxy(holder);
        let killed = Instant::now();
        gaps.push(floating.served_again(killed));
        assert!(floating.is_at(other));
        // It comes back, and takes nothing away from the other one.
        floating.run_proxy(holder);
        assert!(floating.is_at(other));
    }
    gaps.sort_unstable();
    assert!(gaps[1] < Duration::from_secs(1), "{gaps:?}");
}

/// For maintenance of a machine under load: nobody loses a request, and nobody waits for longer than a client's system
/// does before it tries to connect again.
#[test]
fn a_planned_hand_over_loses_nothing_and_does_not_move_back_by_itself() {
    let mut floating = Floating::start();
    let ms = Duration::from_millis;
    let users = [
        floating.users("/", ms(2_000), Connects::Once),
        floating.users("/", ms(5), Connects::Once),
        floating.users("/", ms(10), Connects::EachTime),
        floating.users("/soon", ms(10), Connects::EachTime),
    ];
    for (leaves, takes) in [("lb1", LB2), ("lb2", LB1)] {
        let drained = floating.world.segue(&["fleet", "drain", leaves]);
        assert_eq!(drained.code, Some(0), "{drained:?}");
        assert!(drained.stderr.contains("nothing was cut"), "{drained:?}");
        assert!(!drained.stderr.contains("still has"), "{drained:?}");
        assert!(floating.is_at(takes));
        let back = floating.world.segue(&["fleet", "uncordon", leaves]);
        assert_eq!(back.code, Some(0), "{back:?}");
        floating.world.eventually("it is back", || {
            !floating.world.segue(&["fleet"]).stdout.contains("drain")
        });
        assert!(floating.is_at(takes));
    }
    // Ending the proxy in order is a hand-over, too.
    signal(floating.world.proxy_pid(1), Signal::TERM);
    assert_eq!(floating.world.proxy_ends(1), Some(0));
    assert!(floating.is_at(LB2));
    let longest = users.map(Users::served);
    assert!(longest.iter().all(|time| *time < ms(2_500)), "{longest:?}");
}

/// The one that alone hears nothing of control hands over; if control is away for both, nothing moves.
#[test]
fn a_proxy_that_is_cut_off_from_control_hands_over_unless_the_other_one_is_too() {
    let mut floating = Floating::start();
    floating.world.network.refuse(LB1, Machine::Server);
    floating.world.eventually("the other one has it", || floating.is_at(LB2));
    assert_eq!(floating.answer().as_deref(), Ok("v1"));
    floating.world.network.accept(LB1);
    floating.world.proxy_is_here(1);
    // Control goes away for both, for longer than a proxy waits for it, and comes back.
    floating.world.kill_server();
    let away = Instant::now();
    while away.elapsed() < Duration::from_secs(18) {
        assert!(floating.is_at(LB2) && !floating.is_at(LB1));
        assert_eq!(floating.answer().as_deref(), Ok("v1"));
        // it waits: for real proxies to give control up
        std::thread::sleep(Duration::from_millis(200));
    }
    floating.world.serve();
    floating.world.proxy_is_here(1);
    floating.world.proxy_is_here(2);
    assert!(floating.is_at(LB2) && !floating.is_at(LB1));
    // One that hangs is as good as dead, and takes nothing back when it goes on.
    let hanging = floating.world.proxy_pid(2);
    signal(hanging, Signal::STOP);
    floating.world.eventually("the first has it", || floating.is_at(LB1));
    signal(hanging, Signal::CONT);
    floating.world.eventually("the first serves alone", || !floating.is_at(LB2));
    assert_eq!(floating.answer().as_deref(), Ok("v1"));
}
