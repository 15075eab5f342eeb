//! The table `[limits]` of an app file: the limits of the time and the size of a request.

use bytesize::ByteSize;
use model::{AppLimits, Millis};

use crate::settings_table::{AppFileError, Section};

/// The keys of the table; docs/segue.schema.json lists them, too.
pub(crate) const KEYS: &[&str] =
    &["body", "body_read", "body_rate", "first_byte", "between_bytes", "tunnel_idle"];
/// The range of times, from one second to a week. Shorter times break requests, and longer ones never end.
const TIMES: std::ops::RangeInclusive<Millis> =
    Millis::from_secs(1)..=Millis::from_secs(7 * 86_400);

/// Reads the table.
pub(crate) fn read(top: &Section<'_>) -> Result<AppLimits, AppFileError> {
    let limits = Section::open("limits", top.get("limits"), KEYS)?;
    let AppLimits { body: _, body_read, body_rate: _, first_byte, between_bytes, tunnel_idle } =
        AppLimits::default();
    Ok(AppLimits {
        body: body(&limits)?,
        body_read: limits.duration("body_read", body_read, TIMES)?,
        body_rate: body_rate(&limits)?,
        first_byte: limits.duration("first_byte", first_byte, TIMES)?,
        between_bytes: limits.duration("between_bytes", between_bytes, TIMES)?,
        tunnel_idle: limits.duration("tunnel_idle", tunnel_idle, TIMES)?,
    })
}

/// Reads the size of a body with its unit; `None` if the key is missing.
fn body(limits: &Section<'_>) -> Result<Option<u64>, AppFileError> {
    let hint = "write body = \"10MiB\", or leave it out for no limit";
    let Some(text) = limits.text("body").map_err(|error| error.hint(hint))? else {
        return Ok(None);
    };
    match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes @ 1..)) => Ok(Some(bytes)),
        Ok(ByteSize(0)) | Err(_) => {
            let why = format!("expected a size with its unit, found {text:?}");
            Err(limits.wrong("body", why).hint(hint))
        }
    }
}

/// The highest rate that may be required, in bytes per second. No client could be asked to send faster.
const FASTEST: u64 = 1 << 30;

fn body_rate(limits: &Section<'_>) -> Result<Option<u64>, AppFileError> {
    let hint = "write body_rate = \"1KiB\" for so many bytes per second, or \"0\" for none";
    let Some(text) = limits.text("body_rate").map_err(|error| error.hint(hint))? else {
        return Ok(None);
    };
    match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes @ ..=FASTEST)) => Ok(Some(bytes)),
        Ok(_) | Err(_) => {
            let why = format!("expected a size of at most 1GiB, found {text:?}");
            Err(limits.wrong("body_rate", why).hint(hint))
        }
    }
}
