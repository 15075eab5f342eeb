//! Bounds from the command line, on their way to the proxy.

use cli::{AppLimit, Limit};
use proxy::Limits;
use proxy::standalone::Options;

/// The defaults, with these instead.
pub(crate) fn of_proxy(limits: &[Limit]) -> Limits {
    let mut all = Limits::default();
    for limit in limits {
        match *limit {
            Limit::Connections(count) => all.connections = size(count.into()),
            Limit::Head(time) => all.head = time,
            Limit::HeadSize(bytes) => all.head_sizes.head = size(bytes),
            Limit::HeadFields(count) => all.head_sizes.fields = size(count.into()),
            Limit::TargetSize(bytes) => all.head_sizes.target = size(bytes),
            Limit::Idle(time) => all.idle = time,
            Limit::BodyRate(bytes) => all.body_rate = bytes,
            Limit::BodyGrace(time) => all.body_grace = time,
            Limit::WriteStall(time) => all.write_stall = time,
            Limit::Connect(time) => all.connect = time,
            Limit::ContinueWait(time) => all.continue_wait = time,
            Limit::Linger(time) => all.linger = time,
            Limit::UpstreamIdle(time) => all.upstream_idle = time,
            Limit::UpstreamIdleMax(count) => all.upstream_idle_max = count,
            Limit::HoldRequests(count) => all.hold_requests = count,
            Limit::HoldBytes(bytes) => all.hold_bytes = size(bytes),
            Limit::OfApp(_) => {}
        }
    }
    all
}

/// Sets those that a proxy alone has for its one app.
pub(crate) fn of_app(limits: &[Limit], alone: &mut Options) {
    let all = &mut alone.request;
    for limit in limits {
        let Limit::OfApp(limit) = *limit else { continue };
        match limit {
            AppLimit::Hold(time) => alone.hold = time,
            AppLimit::Drain(time) => alone.drain = time,
            AppLimit::Body(bytes) => all.body = Some(bytes),
            AppLimit::BodyRead(time) => all.body_read = time,
            AppLimit::FirstByte(time) => all.first_byte = time,
            AppLimit::BetweenBytes(time) => all.between_bytes = time,
            AppLimit::TunnelIdle(time) => all.tunnel_idle = time,
        }
    }
}

fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
