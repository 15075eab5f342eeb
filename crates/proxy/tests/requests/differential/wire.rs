//! Reads what went over a wire, after the fact. The reader of requests takes nothing but the one
//! plain spelling that a careful proxy writes: whatever else it finds is a complaint of its own.

/// One request as the proxy wrote it.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub body: Vec<u8>,
}

/// What stands behind the last whole request.
#[derive(Debug, PartialEq, Eq)]
pub enum Rest {
    Nothing,
    /// A request that breaks off.
    Unfinished,
    /// Something that two readers could read in two ways.
    Unclear(String),
}

/// How the reader of requests takes what is said twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nothing may be said twice.
    Plain,
    /// As a careless forwarder would: `Content-Length` is believed before `Transfer-Encoding`.
    Careless,
}

enum Broken {
    Off,
    Unclear(String),
}

fn unclear<T>(what: &str, text: &[u8]) -> Result<T, Broken> {
    Err(Broken::Unclear(format!("{what}: {}", text.escape_ascii())))
}

/// All requests in `bytes`.
pub fn requests(mut bytes: &[u8], reading: Reading) -> (Vec<Request>, Rest) {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        match request(&mut bytes, reading) {
            Ok(request) => found.push(request),
            Err(Broken::Off) => return (found, Rest::Unfinished),
            Err(Broken::Unclear(why)) => return (found, Rest::Unclear(why)),
        }
    }
    (found, Rest::Nothing)
}

fn request(bytes: &mut &[u8], reading: Reading) -> Result<Request, Broken> {
    let start = line(bytes)?;
    let words: Vec<&str> = start.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else {
        return unclear("a start line", start.as_bytes());
    };
    let (mut length, mut chunked) = (None, false);
    loop {
        let line = line(bytes)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            return unclear("a field", line.as_bytes());
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return unclear("a name", name.as_bytes());
        }
        match name.to_ascii_lowercase().replace('_', "-").as_str() {
            "content-length" => {
                let number = value.strip_prefix(' ').and_then(|text| text.parse::<usize>().ok());
                let plain = number.filter(|number| format!(" {number}") == value);
                if plain.is_none() || length.is_some() {
                    return unclear("a length", line.as_bytes());
                }
                length = plain;
            }
            "transfer-encoding" if value == " chunked" && !chunked => chunked = true,
            "transfer-encoding" => return unclear("a coding", line.as_bytes()),
            _ => {}
        }
    }
    let body = match (length, chunked, reading) {
        (Some(_), true, Reading::Plain) => return unclear("two lengths", start.as_bytes()),
        (Some(length), _, _) => take(bytes, length)?.to_vec(),
        (None, true, _) => chunks(bytes)?,
        (None, false, _) => Vec::new(),
    };
    Ok(Request { method: method.to_owned(), target: target.to_owned(), body })
}

/// A line without its end; bytes above ASCII read as one letter each.
fn line(bytes: &mut &[u8]) -> Result<String, Broken> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Err(Broken::Off);
    };
    let line = take(bytes, end + 2)?;
    let line = &line[..end];
    if line.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return unclear("a line", line);
    }
    Ok(line.iter().map(|&b| char::from(b)).collect())
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Broken> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(Broken::Off)?;
    *bytes = rest;
    Ok(taken)
}

fn chunks(bytes: &mut &[u8]) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    loop {
        let size = line(bytes)?;
        let hex = !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit());
        let Some(count) = usize::from_str_radix(&size, 16).ok().filter(|_| hex) else {
            return unclear("a chunk's size", size.as_bytes());
        };
        if count == 0 {
            while !line(bytes)?.is_empty() {}
            return Ok(body);
        }
        body.extend_from_slice(take(bytes, count)?);
        if !line(bytes)?.is_empty() {
            return unclear("the end of a chunk", size.as_bytes());
        }
    }
}

/// One final answer of an origin.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Method, path and body of the request, in the words of the app; none if the server refused
    /// without asking it.
    pub seen: Option<Seen>,
}

/// What an app was asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// In hex.
    pub body: String,
}

/// All final answers in `bytes`; `to_head` says of which place the request was a HEAD. Whatever is no
/// whole answer at the end is left out.
pub fn answers(mut bytes: &[u8], to_head: impl Fn(usize) -> bool) -> Vec<Answer> {
    let mut found = Vec::new();
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head: String = bytes[..end].iter().map(|&b| char::from(b)).collect();
        bytes = &bytes[end + 4..];
        let Some(status) = head.split(' ').nth(1).and_then(|word| word.parse().ok()) else { break };
        if (100..200).contains(&status) {
            continue;
        }
        let seen = crate::common::field(&head, "x-seen").and_then(|text| {
            let mut words = text.split(' ').map(ToOwned::to_owned);
            let (method, path) = (words.next()?, words.next()?);
            let body = words.next()?.strip_prefix('+')?.to_owned();
            Some(Seen { method, path, body })
        });
        let of_head = to_head(found.len());
        found.push(Answer { status, seen });
        let body =
            if of_head || status == 204 || status == 304 { Some(0) } else { length(&head, bytes) };
        let Some(rest) = body.and_then(|length| bytes.get(length..)) else { break };
        bytes = rest;
    }
    found
}

/// Bytes of an answer's body as it stands there; `None` if the rest is all its own.
fn length(head: &str, mut bytes: &[u8]) -> Option<usize> {
    if crate::common::field(head, "transfer-encoding").is_some() {
        let all = bytes.len();
        return chunks(&mut bytes).ok().map(|_| all - bytes.len());
    }
    crate::common::field(head, "content-length")?.parse().ok()
}
