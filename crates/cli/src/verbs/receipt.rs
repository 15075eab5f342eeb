//! `segue receipt`: shows the measured effects of a rollout.

use model::{BudgetSpent, Millis};
use wire::{ReceiptWithCause, RolloutReceipt};

use crate::args::{ConnectionOptions, ReceiptOptions};
use crate::style::{BOLD, DIM};
use crate::text::{TableCell, known, known_ms, table, wrap};
use crate::{CommandError, ExitStatus, Io};

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &ReceiptOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let ReceiptOptions { app, rollout, json: as_json } = options;
    let act = format!("show the receipt of {app}");
    let client = connection.client(&act)?;
    let fail = |error| CommandError::client(&*act, &error);
    let account = match rollout {
        Some(rollout) => client.receipt(app, *rollout).map_err(fail)?,
        None => client.receipts(app).map_err(fail)?.pop().ok_or_else(|| {
            CommandError::because(&*act, "no rollout has ended yet")
                .hint(format!("`segue status {app}` shows the one under way"))
        })?,
    };
    if *as_json {
        io.json(&account.receipt);
        return Ok(ExitStatus::Done);
    }
    for line in lines(&account) {
        io.data(line);
    }
    Ok(ExitStatus::Done)
}

fn lines(account: &ReceiptWithCause) -> Vec<String> {
    let ReceiptWithCause { receipt, cause } = account;
    let RolloutReceipt {
        rollout,
        app,
        from,
        to,
        strategy,
        outcome,
        waiting_for: _, // of a rollout that has ended
        live,
        complete,
        requests,
        failed,
        answers,
        app_5xx,
        client_aborted,
        retried,
        held,
        diverted,
        max_gap_ms,
        switch_ms,
        duration_ms,
        owed,
        budget,
        aside,
        proxies,
        skew_ms,
        prepare_ms,
        lost,
        elsewhere,
    } = receipt;
    let way = from.as_ref().map_or_else(|| to.to_string(), |from| format!("{from} → {to}"));
    let mut lines = vec![format!(
        "{BOLD}{app}{BOLD:#}  rollout {rollout}  {way}  {strategy}  {BOLD}{outcome}{BOLD:#}"
    )];
    if let Some(cause) = cause {
        lines.extend(wrap(2, cause));
    }
    let errors: Vec<String> =
        app_5xx.iter().map(|(label, count)| format!("{label} {count}")).collect();
    let errors = if errors.is_empty() { "none".into() } else { errors.join(", ") };
    let rows = [
        ("requests", known(*requests)),
        ("failed", known(*failed)),
        ("answers", known(*answers)),
        ("5xx of the app", errors),
        ("client left", known(*client_aborted)),
        ("retried", known(*retried)),
        ("held", known(*held)),
        ("diverted", known(*diverted)),
        ("longest gap", known_ms(*max_gap_ms)),
        ("switch", known_ms(*switch_ms)),
        ("duration", Millis(*duration_ms).to_string()),
    ];
    let rows: Vec<Vec<TableCell>> = rows
        .into_iter()
        .map(|(name, value)| vec![TableCell::new(name).style(DIM), TableCell::new(value).right()])
        .collect();
    lines.extend(table(2, &rows));
    if let Some(live) = live {
        lines.push(format!("  {live} was live at its end."));
    }
    if let (Some(proxies), Some(skew)) = (proxies, skew_ms) {
        let prepared = prepare_ms.map(|prepare| format!(", after {} to prepare", Millis(prepare)));
        let prepared = prepared.unwrap_or_default();
        lines.push(format!("  {proxies} proxies switched, {} apart{prepared}.", Millis(*skew)));
    }
    if !lost.is_empty() {
        let names: Vec<String> = lost.iter().map(ToString::to_string).collect();
        lines.push(format!("  Not heard at its end: {}.", names.join(", ")));
    }
    lines.extend(elsewhere.iter().map(|sentence| format!("  {sentence}.")));
    if !owed.is_empty() {
        let hosts: Vec<String> = owed.iter().map(ToString::to_string).collect();
        let hosts = hosts.join(", ");
        lines.push(format!("  Instances are still to be stopped on {hosts}, once heard again."));
    }
    if let Some(BudgetSpent { spent, of }) = budget {
        lines.push(format!("  {spent} of {of} hosts of its failure budget were spent."));
    }
    lines.extend(aside.iter().map(|aside| format!("  It went on without {aside}.")));
    if !complete {
        lines.push("  Some counts were lost in a crash; the true ones are higher.".into());
    }
    lines
}
