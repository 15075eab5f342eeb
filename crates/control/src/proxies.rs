//! The proxies: which are here, what each holds and may use, and what they report. Reports may be lost,
//! repeated or late, and a proxy may die and restart.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    Abilities, AppCounters, AppName, Generation, HealthTable, InFlight, InstanceId, Millis,
    ProxyCommand, ProxyDuty, ProxyHello, ProxyId, ProxyLink, ProxyView, Reach, Timestamp, ToProxy,
    TrafficReport,
};
use rollout::{Absence, AskedProxy, Bug, ProxiesSeen, ProxySeen, SentTables, Spread};

use crate::counts::{Counters, add, differing, plus};
use crate::message::Command;
use crate::proxy_member::{MemberLink, ProxyMember, ToldTables};
use crate::publishing::{Prepared, Publishing};

/// All proxies.
#[derive(Clone, Debug)]
pub(crate) struct Proxies {
    members: BTreeMap<ProxyId, ProxyMember>,
    /// The longest availability gap of each app since its last rollout began.
    gaps: BTreeMap<AppName, u64>,
    /// What proxies counted that were removed.
    removed: Counters,
    seen: ProxiesSeen,
    /// Time of the last look at the clock.
    looked: Timestamp,
}

/// The effect of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportNews {
    /// The report contains nothing new.
    None,
    /// The proxy's state has changed.
    State,
    /// Another process of the proxy has started.
    BegunAnew,
}

impl Proxies {
    /// Returns the server's own proxies, with nothing known of them yet.
    pub fn new(own: &[ProxyId]) -> Self {
        Self {
            members: own.iter().map(|id| (id.clone(), ProxyMember::default())).collect(),
            gaps: BTreeMap::new(),
            removed: Counters::new(),
            seen: ProxiesSeen::default(),
            looked: Timestamp(0),
        }
    }

    /// Adds a proxy on another machine when control starts. Nothing is known of its tables, except that they
    /// contain no other instances than the first of these. It may have requests in flight on the others.
    pub fn recover(
        &mut self,
        (id, duty): (ProxyId, ProxyDuty),
        (instances, left): (BTreeSet<InstanceId>, BTreeSet<InstanceId>),
        term: u64,
    ) {
        let generation = Generation { term, counter: 0 };
        let tables = Arc::new(SentTables::assume(instances.into_iter(), generation));
        let link = MemberLink::Silent { since: Timestamp(0) };
        self.members.insert(id, ProxyMember { tables, left, link, duty, ..ProxyMember::default() });
    }

    /// Starts at `now`: proxies that have not connected are silent from now on.
    pub fn begin(&mut self, now: Timestamp) {
        for member in self.members.values_mut() {
            if let MemberLink::Silent { since } = &mut member.link {
                *since = now;
            }
        }
        self.look(&Publishing::default(), now);
    }

    /// Returns the proxies that are not heard.
    pub fn silent(&self) -> impl Iterator<Item = &ProxyId> {
        self.members.iter().filter(|(_, member)| !member.is_heard()).map(|(id, _)| id)
    }

    /// Takes the names of all proxies on other machines, and what they are used for. A new one is waited for only
    /// once it has the newest table.
    pub fn set_members(&mut self, names: &BTreeMap<ProxyId, ProxyDuty>, now: Timestamp) {
        let is_gone = |(id, member): &(&ProxyId, &ProxyMember)| {
            member.link != MemberLink::Own && !names.contains_key(*id)
        };
        let gone: Vec<ProxyId> =
            self.members.iter().filter(is_gone).map(|(id, _)| id.clone()).collect();
        for member in gone.iter().filter_map(|id| self.members.remove(id)) {
            for (app, counters) in member.counted {
                let sum = self.removed.entry(app).or_default();
                *sum = plus(std::mem::take(sum), counters);
            }
        }
        for (name, duty) in names {
            let member = self.members.entry(name.clone()).or_insert_with(|| ProxyMember {
                link: MemberLink::Silent { since: now },
                late: Some(now),
                ..ProxyMember::default()
            });
            member.duty = *duty;
        }
    }

    /// Takes a change of the connection to a proxy. Returns false if it is not a member.
    pub fn link(&mut self, id: &ProxyId, link: ProxyLink, now: Timestamp) -> bool {
        let Some(member) = self.members.get_mut(id).filter(|it| it.link != MemberLink::Own) else {
            return false;
        };
        match (link, member.link) {
            (ProxyLink::Up(ProxyHello { abilities, epoch }), _) => {
                member.abilities = abilities;
                member.link = MemberLink::Up { epoch };
                // Another process, whatever its number: the clock that it comes from may have been set back.
                if member.newest.as_ref().is_some_and(|newest| newest.epoch != epoch) {
                    member.before = member.newest.take();
                }
                if !Bug::ForgetsProxies.is_planted() {
                    member.told = ToldTables::default();
                }
            }
            (ProxyLink::Silent, MemberLink::Silent { .. }) => {}
            (ProxyLink::Silent, MemberLink::Own | MemberLink::Up { .. }) => {
                member.link = MemberLink::Silent { since: now };
            }
        }
        true
    }

    /// Sets what a proxy can do. Until this is called, the proxy can do everything.
    pub fn set_abilities(&mut self, id: &ProxyId, abilities: Abilities) {
        if let Some(member) = self.members.get_mut(id) {
            member.abilities = abilities;
        }
    }

    /// Returns the first proxy that cannot do something, and what it cannot do.
    pub fn lacking(
        &self,
        lacks: impl Fn(&Abilities) -> Option<&'static str>,
    ) -> Option<(ProxyId, &'static str)> {
        self.members.iter().find_map(|(id, member)| Some((id.clone(), lacks(&member.abilities)?)))
    }

    /// Returns whether every proxy counts the requests that it forwards.
    pub fn count_all(&self) -> bool {
        self.members.values().all(|member| member.abilities.counts)
    }

    /// Returns whether there is only one proxy, the server's own.
    pub fn is_alone(&self) -> bool {
        self.members.len() == 1 && self.members.values().all(|it| it.link == MemberLink::Own)
    }

    /// Returns the apps for which a report differs from the newest one of its proxy. Returns `None` if
    /// these may be any apps.
    pub fn moved(&self, report: &TrafficReport) -> Option<BTreeSet<AppName>> {
        let before = self.members.get(&report.proxy).and_then(|member| member.newest.as_ref())?;
        let (InFlight::Counted(was), InFlight::Counted(is)) =
            (&before.in_flight, &report.in_flight)
        else {
            return None;
        };
        let nothing = Counters::new();
        let was_counted = before.counters.as_ref().unwrap_or(&nothing);
        let is_counted = report.counters.as_ref().unwrap_or(&nothing);
        let counters = differing(was_counted, is_counted).cloned();
        let in_flight = differing(was, is).map(|id| id.app.clone());
        let quiet = differing(&before.quiet, &report.quiet).map(|id| id.app.clone());
        Some(counters.chain(in_flight).chain(quiet).collect())
    }

    /// Returns the apps of which a proxy has found something else about an instance than before.
    pub fn found_anew(&self, report: &TrafficReport) -> BTreeSet<AppName> {
        let before = self.members.get(&report.proxy).map(|member| &*member.reached);
        let found = before.into_iter().flat_map(|before| differing(before, &report.reached));
        found.map(|id| id.app.clone()).collect()
    }

    /// Takes a report. Counts of a process are added once, in whatever order its reports arrive.
    pub fn report(&mut self, report: TrafficReport) -> ReportNews {
        let Some(member) = self.members.get_mut(&report.proxy) else { return ReportNews::None };
        let newest_epoch = member.newest.as_ref().map(|newest| newest.epoch);
        let before_epoch = member.before.as_ref().map(|before| before.epoch);
        let believes_all = Bug::BelievesLateReports.is_planted();
        let is_earlier = newest_epoch.is_some_and(|newest| report.epoch < newest);
        let of_before = (is_earlier || before_epoch == Some(report.epoch)) && !believes_all;
        let known = if of_before { &member.before } else { &member.newest };
        let known = known.as_ref().filter(|known| known.epoch == report.epoch);
        // Processes before the last two are no longer known. Their counts may have been added already.
        let is_too_old = of_before && known.is_none();
        let is_old = is_too_old || known.is_some_and(|known| report.seq <= known.seq);
        if is_old && !believes_all {
            if let Some(counters) = report.counters.filter(|_| Bug::CountsTwice.is_planted()) {
                add(&mut member.counted, None, &counters);
            }
            return ReportNews::None;
        }
        let read = known.map_or(0, |known| known.seq);
        for (app, gaps) in &report.gaps {
            if let Some(longest) = gaps.iter().filter(|gap| gap.seq > read).map(|gap| gap.ms).max()
            {
                let known = self.gaps.entry(app.clone()).or_default();
                *known = longest.max(*known);
            }
        }
        let before = known.and_then(|known| known.counters.as_ref());
        if let Some(counters) = &report.counters {
            add(&mut member.counted, before, counters);
        }
        if of_before {
            member.before = Some(report);
            return ReportNews::None;
        }
        let has_begun = newest_epoch != Some(report.epoch);
        if member.newest.as_ref().is_none_or(|newest| newest.acknowledged != report.acknowledged) {
            Arc::make_mut(&mut member.tables).acknowledged(report.acknowledged);
        }
        if *member.reached != report.reached {
            member.reached = Arc::new(report.reached.clone());
        }
        let newest = member.newest.replace(report);
        if !has_begun {
            return ReportNews::State;
        }
        if newest.is_some() {
            member.before = newest;
        }
        if member.before.is_none() {
            return ReportNews::State;
        }
        if !Bug::ForgetsProxies.is_planted() {
            member.told = ToldTables::default();
        }
        ReportNews::BegunAnew
    }

    /// Lets a proxy that has not acknowledged `newest` be told again: commands may have been lost.
    pub fn remind(&mut self, newest: Generation) {
        for member in self.members.values_mut().filter(|it| it.acknowledged() < newest) {
            if member.link != MemberLink::Own && !Bug::ForgetsProxies.is_planted() {
                member.told = ToldTables::default();
            }
        }
    }

    /// Returns the latest snapshot that every worker of every proxy holds, or has gone beyond. Proxies that are
    /// late or lost are left out.
    pub fn acknowledged(&self) -> Generation {
        let waited_for = self.members.values().filter(|member| member.is_waited_for(self.looked));
        waited_for.map(ProxyMember::acknowledged).min().unwrap_or_default()
    }

    /// Returns how far apart the proxies have acknowledged the last snapshot, if there are several. They had
    /// `prepare` for their tables.
    pub fn spread(&self, prepare: Millis) -> Option<Spread> {
        let waited_for = self.members.values().filter(|member| member.is_waited_for(self.looked));
        let times: Vec<Timestamp> = waited_for.map(|member| member.acknowledged_at.1).collect();
        let (first, last) = (times.iter().min()?, times.iter().max()?);
        let proxies = u16::try_from(times.len()).unwrap_or(u16::MAX);
        let skew = last.since(*first);
        (proxies > 1).then_some(Spread { proxies, skew, prepare })
    }

    /// Returns the number of requests in flight on one instance over all proxies. Also returns whether
    /// there may be more because some proxy cannot tell.
    pub fn in_flight(&self, id: &InstanceId) -> (u32, bool) {
        let on = |report: &TrafficReport| report.in_flight.on(id);
        // A proxy that has not reported since control began may still have some.
        let is_unknown = |member: &ProxyMember| member.newest.is_none() && member.left.contains(id);
        let unknown = self.members.values().any(is_unknown);
        self.reports().map(on).fold((0, unknown), |(sum, uncounted), on| match on {
            Some(count) => (sum.saturating_add(count), uncounted),
            None => (sum, true),
        })
    }

    /// Returns how long nothing has moved on the instance, according to the proxy with the latest
    /// movement. Returns `None` if no proxy has anything in flight on it.
    pub fn quiet(&self, id: &InstanceId) -> Option<Millis> {
        self.reports().filter_map(|report| report.quiet.get(id)).min().copied()
    }

    fn reports(&self) -> impl Iterator<Item = &TrafficReport> {
        self.members.values().filter_map(|member| member.newest.as_ref())
    }

    /// Returns what the proxies have counted for one app, except the gap.
    pub fn counted(&self, app: &AppName) -> Option<Cow<'_, AppCounters>> {
        let of_members = self.members.values().map(|member| &member.counted);
        let mut of_app = of_members.chain([&self.removed]).filter_map(|counted| counted.get(app));
        let first = Cow::Borrowed(of_app.next()?);
        Some(of_app.fold(first, |sum, more| Cow::Owned(plus(sum.into_owned(), more.clone()))))
    }

    /// Returns what the proxies have counted for one app.
    pub fn counters(&self, app: &AppName) -> Option<AppCounters> {
        let max_gap_ms = self.gaps.get(app).copied();
        let counted = self.counted(app)?.into_owned();
        Some(AppCounters { max_gap_ms, ..counted })
    }

    /// Returns how many requests to one app the proxies have counted.
    pub fn requests(&self, app: &AppName) -> u64 {
        self.counted(app).map_or(0, |counters| counters.requests)
    }

    /// Restarts the measurement of the longest gap.
    pub fn forget_gap(&mut self, app: &AppName) {
        self.gaps.remove(app);
    }

    /// Forgets an app that is in no table any more: nobody asks for its counts.
    pub fn forget(&mut self, app: &AppName) {
        self.gaps.remove(app);
        self.removed.remove(app);
        for member in self.members.values_mut() {
            member.counted.remove(app);
        }
    }

    /// Looks at `now` which proxies are late or lost, and what these may use. Returns whether anything of it
    /// has changed.
    pub fn look(&mut self, publishing: &Publishing, now: Timestamp) -> bool {
        self.looked = now;
        let newest = publishing.newest().map(|snapshot| snapshot.generation).unwrap_or_default();
        for member in self.members.values_mut() {
            let acknowledged = member.acknowledged();
            if acknowledged != member.acknowledged_at.0 {
                member.acknowledged_at = (acknowledged, now);
            }
            let is_behind = member.is_lost(now) || member.deadline(publishing).any(|at| now >= at);
            if is_behind {
                member.late.get_or_insert(now);
            } else if member.is_up()
                && member.acknowledged() >= newest
                && member.late.take().is_some()
            {
                member.followed_at = now;
            }
        }
        let is_here = |member: &&ProxyMember| member.is_heard() && member.is_waited_for(now);
        let here = self.members.values().filter(is_here).count();
        let remote = self.members.iter().filter(|(_, member)| member.link != MemberLink::Own);
        let remote = remote.map(|(id, member)| ProxySeen {
            name: id.clone(),
            absence: member.absence(now),
            is_heard: member.is_heard(),
            followed_at: member.followed_at,
            tables: Arc::clone(&member.tables),
        });
        let is_asked = |member: &ProxyMember| member.is_waited_for(now) && member.duty.is_active();
        let asked = self.members.iter().filter(|(_, member)| is_asked(member));
        let asked = asked.map(|(id, member)| AskedProxy {
            name: id.clone(),
            since: member.followed_at,
            reached: Arc::clone(&member.reached),
        });
        let here = u16::try_from(here).unwrap_or(u16::MAX);
        let seen = ProxiesSeen { here, asked: asked.collect(), remote: remote.collect() };
        let has_changed = here != self.seen.here
            || !names(&seen).eq(names(&self.seen))
            || !absent(&seen).eq(absent(&self.seen));
        self.seen = seen;
        has_changed
    }

    /// Returns the time of the next [`Proxies::look`] that changes anything.
    pub fn wake_at(&self, publishing: &Publishing) -> Option<Timestamp> {
        let times = self.members.values().flat_map(|member| {
            let lost = match member.link {
                MemberLink::Silent { since } => Some(since.after(Reach::LOST_AFTER)),
                MemberLink::Own | MemberLink::Up { .. } => None,
            };
            lost.into_iter().chain(member.deadline(publishing))
        });
        times.chain(publishing.wake_at()).filter(|at| *at > self.looked).min()
    }

    /// Returns what the core sees of the proxies.
    pub fn seen(&self) -> &ProxiesSeen {
        &self.seen
    }

    /// Returns the proxies for people.
    pub fn views(&self, now: Timestamp) -> Vec<ProxyView> {
        let view = |(id, member): (&ProxyId, &ProxyMember)| ProxyView {
            name: id.clone(),
            state: member.state(now),
            acknowledged: member.newest.as_ref().map(|report| report.acknowledged),
            epoch: member.newest.as_ref().map(|report| report.epoch),
        };
        self.members.iter().map(view).collect()
    }

    /// Tells each proxy that is heard what it lacks of the snapshots under way.
    pub fn tell(&mut self, publishing: &Publishing, commands: &mut Vec<Command>) {
        for (id, member) in &mut self.members {
            let mut say = |command| commands.push(to(id, command));
            member.tell(publishing, &mut say);
        }
    }

    /// Sends the health table to one proxy.
    pub fn health_to(id: &ProxyId, table: Arc<HealthTable>) -> Command {
        to(id, ProxyCommand::Health(table))
    }

    /// Sends the health table to all proxies that are heard.
    pub fn health(&self, table: &Arc<HealthTable>, commands: &mut Vec<Command>) {
        let heard = self.members.iter().filter(|(_, member)| member.is_heard());
        commands.extend(heard.map(|(id, _)| Self::health_to(id, Arc::clone(table))));
    }
}

impl Prepared for Proxies {
    fn all_have(&self, generation: Generation) -> bool {
        let mut waited_for =
            self.members.values().filter(|member| member.is_waited_for(self.looked));
        waited_for.all(|member| member.prepared() >= generation) && self.some_has(generation)
    }

    fn some_has(&self, generation: Generation) -> bool {
        self.members.values().any(|member| member.is_heard() && member.prepared() >= generation)
    }
}

/// Returns the proxies that have to reach instances. What they find is looked at app by app.
fn names(seen: &ProxiesSeen) -> impl Iterator<Item = (&ProxyId, Timestamp)> {
    seen.asked.iter().map(|proxy| (&proxy.name, proxy.since))
}

/// Returns the proxies that are late or lost, with what changes when they can use other instances.
fn absent(
    seen: &ProxiesSeen,
) -> impl Iterator<Item = (&ProxyId, Absence, (Option<Generation>, Option<Generation>, usize))> {
    let absent = seen.remote.iter().filter_map(|it| Some((it, it.absence?)));
    absent.map(|(proxy, absence)| (&proxy.name, absence, proxy.tables.extent()))
}

fn to(proxy: &ProxyId, command: ProxyCommand) -> Command {
    Command::Proxy(ToProxy { proxy: proxy.clone(), command })
}
