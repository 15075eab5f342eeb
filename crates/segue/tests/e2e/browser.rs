//! A browser, which keeps the cookie that it is given.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A browser: a connection of its own for each request, and the cookie that it was given.
#[derive(Default)]
pub struct Browser {
    cookie: Option<String>,
}

impl Browser {
    /// Asks once, and returns the version that answered.
    pub fn ask(&mut self, address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        let cookie =
            self.cookie.iter().map(|c| format!("Cookie: theme=dark; {c}\r\n")).collect::<String>();
        let request =
            format!("GET / HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n{cookie}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        let set = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("set-cookie").then(|| value.to_owned())
        });
        if let Some(set) = set {
            assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        body.trim().to_owned()
    }
}
