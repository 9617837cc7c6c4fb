//! A server whose every byte a test decides, to see what becomes of clients of a server that misbehaves.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method and target.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What the server does.
pub enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes, and nothing more until the client goes away.
    Hang(Vec<u8>),
    /// Sends these bytes, then one more again and again until the client goes away.
    Trickle(Vec<u8>),
    /// Sends these bytes, then the others again and again until the client goes away.
    Flood(Vec<u8>, Vec<u8>),
}

impl Reply {
    /// A whole answer.
    pub fn json(status: u16, headers: &str, body: &str) -> Reply {
        let length = body.len();
        Reply::Bytes(
            format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
                .into_bytes(),
        )
    }
}

/// The server; it ends with the test's process.
pub struct Scripted {
    pub base: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    /// Starts a server on `address` that answers by `answer`, which is told the server's own address.
    pub fn start(
        address: &str,
        answer: impl Fn(&str, &Request) -> Reply + Send + Sync + 'static,
    ) -> Scripted {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let served = Arc::new((base.clone(), seen.clone(), answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    served.1.lock().unwrap().push(request.clone());
                    send(&stream, (served.2)(&served.0, &request));
                });
            }
        });
        Scripted { base, seen }
    }

    /// Method and path of all requests so far.
    pub fn lines(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|request| request.line.clone()).collect()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers: Vec<_> = headers
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let line = lines[0].trim_end_matches(" HTTP/1.1").to_owned();
    let body = String::from_utf8(body).unwrap();
    Some(Request {
        line,
        headers,
        body,
    })
}

fn send(mut stream: &TcpStream, reply: Reply) {
    // Any write may fail, because the client has gone; then there is no more to do.
    let (first, pause, again) = match reply {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes);
            return;
        }
        Reply::Hang(bytes) => (bytes, None, Vec::new()),
        Reply::Trickle(bytes) => (bytes, Some(Duration::from_millis(10)), vec![b' ']),
        Reply::Flood(bytes, again) => {
            let _ = stream.write_all(&bytes);
            while stream.write_all(&again).is_ok() {}
            return;
        }
    };
    stream.set_read_timeout(pause).unwrap();
    stream.set_nodelay(true).unwrap();
    let _ = stream.write_all(&first);
    // Nothing comes from a client any more but its end, so that reading is waiting.
    while !matches!(stream.read(&mut [0]), Ok(0)) {
        if stream.write_all(&again).is_err() {
            return;
        }
    }
}
