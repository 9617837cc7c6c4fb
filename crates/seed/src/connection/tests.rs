//! Connections over a pipe in memory, to a metadata service of one document.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;

use super::*;
use crate::metadata::tests::Shelf;
use crate::metadata::{self, Metadata};
use crate::server::Mounted;

struct Lab {
    shelf: Arc<Shelf>,
    services: Arc<Services>,
    stop: CancellationToken,
}

struct Client {
    to: WriteHalf<DuplexStream>,
    from: Reader,
    server: JoinHandle<()>,
}

struct Reader {
    half: ReadHalf<DuplexStream>,
    read: Vec<u8>,
}

/// An answer, its head in small letters.
struct Seen {
    head: String,
    body: String,
}

const HELD: &str = "GET /metadata/one/sesame HTTP/1.1\r\nHost: seed\r\nIf-None-Match: \"1\"\r\nPrefer: wait=300\r\n";

impl Lab {
    fn new() -> Lab {
        let shelf = Shelf::new("1");
        let stop = CancellationToken::new();
        let router = Metadata::new(Arc::clone(&shelf) as _, stop.clone()).router();
        let mounted = Mounted {
            prefix: metadata::PREFIX,
            catalog: None,
            router,
        };
        Lab {
            shelf,
            services: Arc::new(Services::new(vec![mounted])),
            stop,
        }
    }

    /// A client whose pipe holds so many bytes.
    fn client(&self, pipe: usize) -> Client {
        let (stream, far) = tokio::io::duplex(pipe);
        let connection = Connection {
            services: Arc::clone(&self.services),
            local: "127.0.0.1:1".to_owned(),
            small: true,
            stop: self.stop.clone(),
            ends: self.stop.clone(),
        };
        let (half, to) = tokio::io::split(stream);
        Client {
            to,
            from: Reader {
                half,
                read: Vec::new(),
            },
            server: tokio::spawn(connection.serve(far, "http")),
        }
    }

    fn change(&self, text: &str) {
        self.shelf.text.send_replace(text.to_owned());
    }

    /// Returns when so many requests are held.
    async fn holds(&self, count: usize) {
        // Each of them listens for the next text.
        while self.shelf.text.receiver_count() != count {
            tokio::task::yield_now().await;
        }
    }
}

impl Client {
    async fn send(&mut self, text: &str) {
        self.to.write_all(text.as_bytes()).await.unwrap();
    }

    async fn receive(&mut self) -> Seen {
        self.from.receive().await
    }

    /// The server has closed the connection.
    async fn end(mut self) {
        let count = self.from.half.read_buf(&mut self.from.read).await.unwrap();
        assert_eq!((count, self.from.read.len()), (0, 0));
        self.server.await.unwrap();
    }
}

impl Reader {
    async fn receive(&mut self) -> Seen {
        loop {
            let text = String::from_utf8(self.read.clone()).unwrap();
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let head = head.to_lowercase();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                let length = length.map_or(0, |length| length.parse().unwrap());
                if rest.len() >= length {
                    let body = rest[..length].to_owned();
                    self.read.drain(..head.len() + 4 + length);
                    return Seen { head, body };
                }
            }
            let count = self.half.read_buf(&mut self.read).await.unwrap();
            assert_ne!(count, 0, "the connection ended after {text:?}");
        }
    }
}

impl Seen {
    fn is(&self, status: u16, body: &str) {
        let line = format!("http/1.1 {status} ");
        assert!(self.head.starts_with(&line), "{}", self.head);
        assert_eq!(self.body, body, "{}", self.head);
    }
}

#[tokio::test]
async fn a_held_request_is_answered_and_the_connection_goes_on() {
    let lab = Lab::new();
    let mut client = lab.client(4096);
    for text in ["2", "3"] {
        client
            .send("GET /metadata/one/sesame HTTP/1.1\r\nHost: seed\r\n\r\n")
            .await;
        let now = client.receive().await;
        let etag = format!("\"{}\"", now.body);
        let again = HELD.replace("\"1\"", &etag);
        client.send(&format!("{again}\r\n")).await;
        lab.holds(1).await;
        lab.change(text);
        let seen = client.receive().await;
        seen.is(200, text);
        for line in [
            format!("etag: \"{text}\""),
            "cache-control: no-store".to_owned(),
            "content-type: application/json".to_owned(),
        ] {
            assert!(seen.head.lines().any(|one| one == line), "{}", seen.head);
        }
        assert!(seen.head.contains("\ndate: "), "{}", seen.head);
        assert!(!seen.head.contains("\nconnection"), "{}", seen.head);
    }
    drop((client.to, client.from));
    client.server.await.unwrap();
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_order() {
    let lab = Lab::new();
    let mut client = lab.client(64);
    let plain = "GET /metadata/one/sesame HTTP/1.1\r\nHost: seed\r\n\r\n";
    let nowhere = "GET /metadata/two/sesame HTTP/1.1\r\nHost: seed\r\n\r\n";
    let all = format!("{plain}{HELD}\r\n{nowhere}{plain}");
    // The pipe holds less than an answer, so hyper is left with some of the first when it has the second request.
    let sent = client.to.write_all(all.as_bytes());
    let received = async {
        client.from.receive().await.is(200, "1");
        lab.holds(1).await;
        lab.change("2");
        client.from.receive().await.is(200, "2");
        client.from.receive().await.is(404, "");
        client.from.receive().await.is(200, "2");
    };
    let (sent, ()) = tokio::join!(sent, received);
    sent.unwrap();
}

#[tokio::test]
async fn a_request_with_a_body_is_held_and_what_follows_the_body_is_a_request() {
    let lab = Lab::new();
    let mut client = lab.client(4096);
    let bodies = [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    for (index, body) in bodies.iter().enumerate() {
        let held = HELD.replace("\"1\"", &format!("\"{}\"", index + 1));
        client
            .send(&format!(
                "{held}{body}HEAD /metadata/one/sesame HTTP/1.1\r\nHost: seed\r\n"
            ))
            .await;
        lab.holds(1).await;
        let text = (index + 2).to_string();
        lab.change(&text);
        client.receive().await.is(200, &text);
        // The length that HEAD speaks of does not come.
        client.send("Connection: keep-alive\r\n\r\n").await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.from.half.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200 OK"));
    }
}

#[tokio::test]
async fn who_sends_nothing_more_is_answered_at_once() {
    let lab = Lab::new();
    let mut client = lab.client(4096);
    client.send(&format!("{HELD}\r\n")).await;
    lab.holds(1).await;
    client.to.shutdown().await.unwrap();
    let seen = client.receive().await;
    seen.is(304, "");
    assert!(seen.head.contains("\netag: \"1\""), "{}", seen.head);
    assert!(seen.head.contains("\nconnection: close"), "{}", seen.head);
    client.end().await;

    let mut client = lab.client(4096);
    client
        .send("GET /metadata/one/sesame HTTP/1.1\r\nHost: seed\r\n\r\n")
        .await;
    client.to.shutdown().await.unwrap();
    client.receive().await.is(200, "1");
    client.end().await;
}

#[tokio::test]
async fn the_wait_ends_when_the_client_is_gone() {
    let lab = Lab::new();
    let mut client = lab.client(4096);
    client.send(&format!("{HELD}\r\n")).await;
    lab.holds(1).await;
    drop((client.to, client.from));
    client.server.await.unwrap();
    lab.holds(0).await;
}

#[tokio::test]
async fn the_connection_ends_when_it_was_to_be_the_last_request() {
    let close = format!("{HELD}Connection: close\r\n\r\n");
    let old = format!("{HELD}\r\n").replace("HTTP/1.1", "HTTP/1.0");
    // The body is not sent before the answer, so nothing after it could be understood.
    let expects = format!("{HELD}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    for request in [close, old, expects] {
        let lab = Lab::new();
        let mut client = lab.client(4096);
        client.send(&request).await;
        lab.holds(1).await;
        lab.change("2");
        let seen = client.receive().await;
        seen.is(200, "2");
        assert!(seen.head.contains("\nconnection: close"), "{}", seen.head);
        client.end().await;
    }
}

#[tokio::test]
async fn the_end_of_the_seed_ends_held_requests() {
    let lab = Lab::new();
    let mut client = lab.client(4096);
    client.send(&format!("{HELD}\r\n")).await;
    lab.holds(1).await;
    lab.stop.cancel();
    let seen = client.receive().await;
    seen.is(304, "");
    assert!(seen.head.contains("\nconnection: close"), "{}", seen.head);
    client.end().await;
}
