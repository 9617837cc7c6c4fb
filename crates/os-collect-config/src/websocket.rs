//! A websocket for JSON messages, as much of RFC 6455 as a client of Zaqar needs.

use crate::http::{HttpError, Resolver, Trust, tls};
use base64::Engine as _;
use metadata::Value;
use reqwest::Method;
use rustls::pki_types::ServerName;
use sha1::{Digest as _, Sha1};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Zaqar's messages have at most 256 KiB by default; a longer frame is no message.
const MAX_FRAME: u64 = 16 << 20;
/// What a server appends to the key to show that it speaks the protocol (RFC 6455, 1.3).
const PROOF: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An open websocket.
pub(crate) struct WebSocket {
    stream: Box<dyn Stream>,
    shown: String,
}

impl WebSocket {
    /// Opens the websocket at `url`, which starts with `ws:` or `wss:`.
    pub(crate) async fn open(url: &str, trust: &Trust) -> Result<WebSocket, HttpError> {
        let shown = url.split('?').next().unwrap_or(url).to_owned();
        let failed = |why: String| HttpError::Request {
            method: Method::GET,
            url: shown.clone(),
            why,
        };
        let parsed = url::Url::parse(url).map_err(|error| failed(error.to_string()))?;
        let host = parsed
            .host_str()
            .ok_or_else(|| failed("there is no host".to_owned()))?
            .to_owned();
        let secure = parsed.scheme() == "wss";
        let port = parsed.port().unwrap_or(if secure { 443 } else { 80 });
        let address = match host.trim_matches(['[', ']']).parse() {
            Ok(address) => vec![address],
            Err(_) => Resolver::find(&host)
                .await
                .map_err(|error| failed(error.to_string()))?,
        };
        let address = address
            .first()
            .ok_or_else(|| failed("its name has no address".to_owned()))?;
        let plain = TcpStream::connect((*address, port))
            .await
            .map_err(|error| failed(error.to_string()))?;
        let stream: Box<dyn Stream> = if secure {
            let name =
                ServerName::try_from(host.clone()).map_err(|error| failed(error.to_string()))?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(tls(trust).map_err(failed)?));
            let stream = connector.connect(name, plain).await;
            Box::new(stream.map_err(|error| failed(error.to_string()))?)
        } else {
            Box::new(plain)
        };
        let mut socket = WebSocket {
            stream,
            shown: shown.clone(),
        };
        let target = &parsed[url::Position::BeforePath..];
        socket
            .shake_hands(target, &format!("{host}:{port}"))
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(socket)
    }

    async fn shake_hands(&mut self, target: &str, host: &str) -> io::Result<()> {
        let engine = base64::engine::general_purpose::STANDARD;
        let key = engine.encode(rand::random::<[u8; 16]>());
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // Byte by byte, because the first frame may follow at once.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > 16 << 10 {
                return Err(io::Error::other("the answer's head has no end"));
            }
            head.push(self.stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != "101" {
            return Err(io::Error::other(format!("it answered {status}")));
        }
        let proof = engine.encode(Sha1::digest(format!("{key}{PROOF}")));
        let given = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-accept")
                .then(|| value.trim().to_owned())
        });
        if given.as_deref() != Some(proof.as_str()) {
            return Err(io::Error::other("it does not speak the websocket protocol"));
        }
        Ok(())
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, message: &Value) -> Result<(), HttpError> {
        let sent = self.write_frame(TEXT, message.to_json().as_bytes()).await;
        sent.map_err(|error| self.failed(&error.to_string()))
    }

    /// Waits for the next message.
    pub(crate) async fn receive(&mut self) -> Result<Value, HttpError> {
        let text = self
            .next_text()
            .await
            .map_err(|error| self.failed(&error.to_string()))?;
        metadata::parse(&text)
            .map_err(|error| self.failed(&format!("its message is no JSON: {error}")))
    }

    fn failed(&self, why: &str) -> HttpError {
        HttpError::Request {
            method: Method::GET,
            url: self.shown.clone(),
            why: why.to_owned(),
        }
    }

    async fn next_text(&mut self) -> io::Result<String> {
        let mut message = Vec::new();
        loop {
            let (last, kind, data) = self.read_frame().await?;
            match kind {
                PING => self.write_frame(PONG, &data).await?,
                PONG => {}
                CLOSE => return Err(io::Error::other("the server closed the websocket")),
                // Text, binary, or the continuation of either.
                0 | TEXT | BINARY => {
                    message.extend_from_slice(&data);
                    if message.len() as u64 > MAX_FRAME {
                        return Err(io::Error::other("a message is too long"));
                    }
                    if last {
                        return Ok(String::from_utf8_lossy(&message).into_owned());
                    }
                }
                other => return Err(io::Error::other(format!("unknown kind of frame {other}"))),
            }
        }
    }

    async fn read_frame(&mut self) -> io::Result<(bool, u8, Vec<u8>)> {
        let first = self.stream.read_u8().await?;
        let second = self.stream.read_u8().await?;
        let length = match second & 127 {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        if length > MAX_FRAME {
            return Err(io::Error::other("a frame is too long"));
        }
        let mut mask = [0; 4];
        if second & 128 != 0 {
            self.stream.read_exact(&mut mask).await?;
        }
        let mut data = vec![0; usize::try_from(length).unwrap_or(0)];
        self.stream.read_exact(&mut data).await?;
        masked(&mut data, mask);
        Ok((first & 128 != 0, first & 15, data))
    }

    async fn write_frame(&mut self, kind: u8, data: &[u8]) -> io::Result<()> {
        let mut frame = vec![128 | kind];
        match data.len() {
            length @ 0..=125 => frame.push(128 | length as u8),
            length @ 126..=0xffff => {
                frame.push(128 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(128 | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let mask: [u8; 4] = rand::random();
        frame.extend_from_slice(&mask);
        let start = frame.len();
        frame.extend_from_slice(data);
        masked(&mut frame[start..], mask);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }
}

fn masked(data: &mut [u8], mask: [u8; 4]) {
    for (byte, mask) in data.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
