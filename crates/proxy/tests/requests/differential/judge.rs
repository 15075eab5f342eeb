//! Compares what the proxy sent on a connection with what the origin made of it. Knows no case and
//! no origin.

use super::tap::{Recorded, Side};
use super::wire::{Answer, Reading, Request, Rest, answers, requests};

/// What one connection shows.
#[derive(Debug, Default)]
pub struct Finding {
    /// The requests sent, with the answers as far as they came.
    pub served: Vec<(Request, Option<Answer>)>,
    /// Where the two do not agree, in words, with the target in question.
    pub disagreements: Vec<(String, String)>,
}

/// Judges one connection.
pub fn judge(recorded: &Recorded, reading: Reading) -> Finding {
    let (sent, rest) = requests(&recorded.sent, reading);
    let to_head = |at: usize| sent.get(at).is_some_and(|request| request.method == "HEAD");
    let mut answers = answers(&recorded.answered, to_head).into_iter();
    let mut finding = Finding::default();
    let mut last = String::new();
    for request in sent {
        last.clone_from(&request.target);
        let answer = answers.next();
        if let Some(why) = disagreement(&request, answer.as_ref(), recorded.ended_by) {
            finding.disagreements.push((request.target.clone(), why));
        }
        finding.served.push((request, answer));
    }
    if let Rest::Unclear(why) = &rest {
        finding
            .disagreements
            .push((last.clone(), format!("what was forwarded is not plain: {why}")));
    }
    // To what breaks off, a server may say that it is wrong; an app must not get it.
    let mut extra: Vec<Answer> = answers.collect();
    let unwhole = rest != Rest::Nothing || recorded.sent.is_empty();
    if unwhole && extra.first().is_some_and(|answer| answer.seen.is_none()) {
        extra.remove(0);
    }
    for answer in extra {
        let why = format!("the origin answered what was not (wholly) sent: {answer:?}");
        finding.disagreements.push((last.clone(), why));
    }
    finding
}

fn disagreement(request: &Request, answer: Option<&Answer>, ended_by: Side) -> Option<String> {
    let Some(answer) = answer else {
        let waits = ended_by == Side::Proxy;
        return waits.then(|| format!("the origin waits for more: {request:?}"));
    };
    let seen = answer.seen.as_ref()?;
    let same_case = match (place(&request.target), place(&seen.path)) {
        (Some(one), Some(other)) => one == other,
        (_, _) => true,
    };
    let hex: String = request.body.iter().map(|byte| format!("{byte:02x}")).collect();
    // Some make capitals of a method.
    let same_method = seen.method.eq_ignore_ascii_case(&request.method);
    let same = same_case && same_method && seen.body == hex;
    (!same).then(|| format!("sent {request:?}, but the origin saw {seen:?}"))
}

/// The part of a target that no server rewrites.
fn place(target: &str) -> Option<&str> {
    let (_, rest) = target.split_once("/c/")?;
    // Four digits, and the first letters of which of the case's requests it is.
    rest.get(..10)
}
