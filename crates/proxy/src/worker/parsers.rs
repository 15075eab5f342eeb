//! A worker's stock of parsers. One that is not in use holds nothing of the head that it has read.

use std::cell::RefCell;

use http1::{RequestLimits, RequestParser, ResponseParser};

/// Parsers kept of each kind.
const MOST: usize = 64;

/// The stock.
#[derive(Debug)]
#[expect(clippy::vec_box, reason = "a parser's box moves into a connection and back")]
pub(crate) struct Parsers {
    sizes: RequestLimits,
    requests: RefCell<Vec<Box<RequestParser>>>,
    responses: RefCell<Vec<Box<ResponseParser>>>,
}

impl Parsers {
    /// An empty stock; heads of requests may be as large as `sizes` say.
    pub(crate) fn new(sizes: RequestLimits) -> Self {
        Self { sizes, requests: RefCell::default(), responses: RefCell::default() }
    }

    pub(crate) fn request(&self) -> Box<RequestParser> {
        let stocked = self.requests.borrow_mut().pop();
        stocked.unwrap_or_else(|| Box::new(RequestParser::new(self.sizes)))
    }

    pub(crate) fn put_request(&self, mut parser: Box<RequestParser>) {
        parser.restart();
        let mut stock = self.requests.borrow_mut();
        if stock.len() < MOST {
            stock.push(parser);
        }
    }

    pub(crate) fn response(&self) -> Box<ResponseParser> {
        self.responses.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn put_response(&self, mut parser: Box<ResponseParser>) {
        parser.restart();
        let mut stock = self.responses.borrow_mut();
        if stock.len() < MOST {
            stock.push(parser);
        }
    }
}
