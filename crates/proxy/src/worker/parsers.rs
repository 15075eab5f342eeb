//! A worker's stock of parsers. A parser in the stock keeps nothing of the head that it has parsed.

use std::cell::{Cell, RefCell};

use http1::{RequestLimits, RequestParser, ResponseParser};

/// The number of parsers kept of each kind.
const MOST: usize = 64;

/// A worker's stock of parsers.
#[derive(Debug)]
#[expect(clippy::vec_box, reason = "a parser's box moves into a connection and back")]
pub(crate) struct Parsers {
    sizes: Cell<RequestLimits>,
    requests: RefCell<Vec<Box<RequestParser>>>,
    responses: RefCell<Vec<Box<ResponseParser>>>,
}

impl Parsers {
    /// Returns an empty stock. `sizes` bounds the heads of requests.
    pub(crate) fn new(sizes: RequestLimits) -> Self {
        Self {
            sizes: Cell::new(sizes),
            requests: RefCell::default(),
            responses: RefCell::default(),
        }
    }

    /// Bounds the heads of requests by other sizes. Parsers in use keep theirs until the connection ends.
    pub(crate) fn limit(&self, sizes: RequestLimits) {
        self.sizes.set(sizes);
        self.requests.borrow_mut().clear();
    }

    pub(crate) fn request(&self) -> Box<RequestParser> {
        let stocked = self.requests.borrow_mut().pop();
        stocked.unwrap_or_else(|| Box::new(RequestParser::new(self.sizes.get())))
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
