//! The proxy alone, for load tests: `standalone LISTEN UPSTREAM… [--workers N] [--admin ADDR]
//! [--health-path P] [--access-log FILE]`.

use std::error::Error;

use proxy::standalone::{Options, run};

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::new(Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--workers" => options.workers = Some(value()?.parse()?),
            "--admin" => options.admin = Some(value()?.parse()?),
            "--health-path" => options.health_path = Some(value()?),
            "--access-log" => options.access_log = Some(value()?.into()),
            address if options.listen.is_empty() => options.listen.push(address.parse()?),
            address => options.upstreams.push(address.parse()?),
        }
    }
    Ok(run(options)?)
}
