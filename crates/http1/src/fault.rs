//! The reasons why input is refused. Depends only on bytes that were seen.

use core::fmt;

/// The defect of a head, a chunk line or a trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line ends in LF without CR.
    BareLf,
    /// A CR without LF behind it.
    BareCr,
    /// A control character, NUL included, where text is expected.
    Control,
    /// A line that is continued in the next one.
    Folded,
    /// Space between a field's name and its colon.
    SpaceBeforeColon,
    /// A field or method name that is empty or not a token.
    NotAToken,
    /// The start line does not have the three parts that it must have.
    StartLine,
    /// The request target has none of the forms that its method allows.
    Target,
    /// `Host` is missing, doubled or not a valid authority.
    Host,
    /// `Content-Length` is doubled or not a plain number.
    ContentLength,
    /// `Transfer-Encoding` is anything but one `chunked`, or not allowed here.
    TransferEncoding,
    /// Both `Transfer-Encoding` and `Content-Length`.
    BothLengths,
    /// `Connection` names a field that must not be removed, or too many.
    Connection,
    /// `Max-Forwards` of an OPTIONS or TRACE request is doubled or not a plain number.
    MaxForwards,
    /// A TRACE request with a body.
    TraceBody,
    /// A chunk's size is not hexadecimal or too large, or its line is too long.
    ChunkSize,
    /// A chunk's extension does not have the form that the RFC defines.
    ChunkExtension,
    /// A chunk does not end where it must.
    ChunkEnd,
    /// The trailer section is too large.
    TrailerTooLarge,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareLf => "a line ends without CR",
            Self::BareCr => "a CR stands alone",
            Self::Control => "a control character stands in it",
            Self::Folded => "a field goes on in the next line",
            Self::SpaceBeforeColon => "there is space before a colon",
            Self::NotAToken => "a name is not a token",
            Self::StartLine => "the first line is malformed",
            Self::Target => "the request target is malformed",
            Self::Host => "the Host is missing, doubled or malformed",
            Self::ContentLength => "the Content-Length is doubled or malformed",
            Self::TransferEncoding => "the Transfer-Encoding is not understood",
            Self::BothLengths => "Transfer-Encoding and Content-Length contradict each other",
            Self::Connection => "the Connection field names what it must not",
            Self::MaxForwards => "the Max-Forwards is doubled or malformed",
            Self::TraceBody => "TRACE must not have a body",
            Self::ChunkSize => "a chunk's size is malformed",
            Self::ChunkExtension => "a chunk's extension is malformed",
            Self::ChunkEnd => "a chunk does not end where it must",
            Self::TrailerTooLarge => "the trailer section is too large",
        })
    }
}

impl core::error::Error for Fault {}

/// The reason why the proxy answers a request itself. Each one closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The request is not valid HTTP: 400.
    Malformed(Fault),
    /// CONNECT: 405.
    Connect,
    /// The target is too long: 414.
    TargetTooLong,
    /// The request has an unknown expectation: 417.
    Expectation,
    /// The head, a name or the method is too large, or there are too many fields: 431.
    HeadTooLarge,
    /// A version other than 1.0 and 1.1: 505.
    Version,
}

impl Refused {
    /// Returns the status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Connect => 405,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLarge => 431,
            Self::Version => 505,
        }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Malformed(fault)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(fault) => fault.fmt(f),
            Self::Connect => f.write_str("CONNECT is not offered here"),
            Self::TargetTooLong => f.write_str("the request target is too long"),
            Self::Expectation => f.write_str("the expectation is not known"),
            Self::HeadTooLarge => f.write_str("the request head is too large"),
            Self::Version => f.write_str("only HTTP/1.0 and HTTP/1.1 are spoken here"),
        }
    }
}

impl core::error::Error for Refused {}

/// The reason why an answer from upstream cannot be passed on: 502, and its connection is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// Its head is malformed.
    Malformed(Fault),
    /// Its head is too large, or has too many fields.
    HeadTooLarge,
    /// Its status line is not HTTP/1.
    StatusLine,
    /// The answer names two different lengths.
    Lengths,
    /// The answer switches protocols though the request did not ask for that.
    UnaskedSwitch,
}

impl From<Fault> for BadAnswer {
    fn from(fault: Fault) -> Self {
        Self::Malformed(fault)
    }
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(fault) => fault.fmt(f),
            Self::HeadTooLarge => f.write_str("the answer's head is too large"),
            Self::StatusLine => f.write_str("the answer does not begin like HTTP/1"),
            Self::Lengths => f.write_str("the answer names two different lengths"),
            Self::UnaskedSwitch => f.write_str("the answer switches protocols unasked"),
        }
    }
}

impl core::error::Error for BadAnswer {}
