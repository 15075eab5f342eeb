//! The keys `memory`, `pids` and `cpu` of `[run]`: the limits of an instance's resources.

use bytesize::ByteSize;
use model::ResourceLimits;

use crate::settings_table::{AppFileError, Section};
use crate::settings_tree::{Node, TreeValue};

type Result<T> = std::result::Result<T, AppFileError>;

/// The range of `memory`, in bytes. No program starts with less than a mebibyte.
const MEMORY: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 50;
/// The largest number of process ids on Linux.
const MOST_PIDS: i64 = 1 << 22;
/// The range of `cpu`, in thousandths of a core. The least time that the kernel grants is a millisecond in a
/// tenth of a second.
const CPU: std::ops::RangeInclusive<u32> = 10..=1_000_000;

/// Reads the three keys.
pub(crate) fn read(run: &Section<'_>) -> Result<ResourceLimits> {
    let pids = match run.get("pids") {
        None => None,
        Some(_) => Some(run.count("pids", 0, 1..=MOST_PIDS)?),
    };
    Ok(ResourceLimits { memory: memory(run)?, pids, cpu: cpu(run)? })
}

fn memory(run: &Section<'_>) -> Result<Option<u64>> {
    let hint = "write memory = \"512MiB\", or leave it out for no limit";
    let Some(text) = run.text("memory").map_err(|error| error.hint(hint))? else {
        return Ok(None);
    };
    let wrong = |why: String| Err(run.wrong("memory", why).hint(hint));
    match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes)) if MEMORY.contains(&bytes) => Ok(Some(bytes)),
        Ok(ByteSize(bytes)) => {
            wrong(format!("{text:?} is {bytes} bytes, which is not within 1MiB and 1PiB"))
        }
        Err(_) => wrong(format!("expected a size with its unit, found {text:?}")),
    }
}

fn cpu(run: &Section<'_>) -> Result<Option<u32>> {
    let hint = "write cpu = 1.5 for one and a half processors, or leave it out for no limit";
    let wrong = |why: String| Err(run.wrong("cpu", why).hint(hint));
    let processors = match run.get("cpu") {
        None => return Ok(None),
        Some(Node { value: TreeValue::Fraction(number), .. }) => *number,
        // A whole number within the bounds can be converted without loss.
        Some(Node { value: TreeValue::Number(number), .. }) => *number as f64,
        Some(node) => return wrong(format!("expected a number, found {}", node.kind())),
    };
    let thousandths = processors * 1_000.0;
    let whole = thousandths.round();
    // A value that is not a number or too large becomes one that is out of bounds.
    let cpu = whole as u32;
    if !CPU.contains(&cpu) {
        return wrong(format!("{processors:?} is not within 0.01 and 1000"));
    }
    // A floating-point number is at most this far from a number with three decimals.
    if (thousandths - whole).abs() > 1e-6 {
        return wrong(format!("{processors} has more than three decimals"));
    }
    Ok(Some(cpu))
}
