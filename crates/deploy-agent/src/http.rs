//! Requests to the seed: one connection kept open, plain or TLS, addresses only.
//!
//! There is nobody on the medium who could resolve a name, and the seed has an address.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::error::{AgentError, with_causes};

/// Silence of the seed that is taken for a broken connection.
const SILENCE: Duration = Duration::from_secs(60);

/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// An answer that is read into memory as a whole is not longer than this.
const LONGEST: u64 = 64 << 20;

/// A header line is not longer than this.
const LONGEST_LINE: u64 = 64 << 10;

/// An address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    tls: bool,
    host: IpAddr,
    port: u16,
    path: String,
}

impl Place {
    fn parse(url: &str) -> Result<Self, AgentError> {
        let bad = |why| AgentError::Url {
            url: url.to_owned(),
            why,
        };
        let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            (None, None) => return Err(bad("it is neither http nor https")),
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let usual = if tls { 443 } else { 80 };
        let at = match authority.parse::<SocketAddr>() {
            Ok(at) => at,
            Err(_) => {
                let host = authority.trim_start_matches('[').trim_end_matches(']');
                let host = host
                    .parse()
                    .map_err(|_| bad("its host is not an address"))?;
                SocketAddr::new(host, usual)
            }
        };
        Ok(Self {
            tls,
            host: at.ip(),
            port: at.port(),
            path: path.to_owned(),
        })
    }

    fn authority(&self) -> String {
        SocketAddr::new(self.host, self.port).to_string()
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(wire) => wire.read(buffer),
            Self::Tls(wire) => wire.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(wire) => wire.write(bytes),
            Self::Tls(wire) => wire.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(wire) => wire.flush(),
            Self::Tls(wire) => wire.flush(),
        }
    }
}

/// A client that proves itself with a secret.
pub struct Client {
    token: String,
    tls: Arc<ClientConfig>,
    open: Option<(String, BufReader<Wire>)>,
}

/// How the body of an answer is told from what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunked,
    UntilEnd,
}

struct Head {
    status: u16,
    body: Body,
    keep: bool,
}

impl Client {
    /// A client with a secret, which believes certificates of `ca`.
    pub fn new(token: &str, ca: Option<&str>) -> Result<Self, AgentError> {
        let bad = |why: String| AgentError::Medium {
            path: "/deploy.json (ca)".to_owned(),
            why,
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.unwrap_or_default().as_bytes()) {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| bad(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            token: token.to_owned(),
            tls: Arc::new(tls),
            open: None,
        })
    }

    /// The whole body at `url`.
    pub fn get(&mut self, url: &str) -> Result<Vec<u8>, AgentError> {
        let mut bytes = Vec::new();
        self.exchange("GET", url, None, None, &mut |part| {
            bytes.extend_from_slice(part);
            if bytes.len() as u64 > LONGEST {
                Err(io::ErrorKind::FileTooLarge.into())
            } else {
                Ok(())
            }
        })?;
        Ok(bytes)
    }

    /// Bytes `from` to before `to` at `url`, handed to `take` as they come.
    pub fn get_range(
        &mut self,
        url: &str,
        range: (u64, u64),
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), AgentError> {
        self.exchange("GET", url, Some(range), None, take)
    }

    /// Sends JSON to `url`.
    pub fn post(&mut self, url: &str, json: &[u8]) -> Result<(), AgentError> {
        self.exchange("POST", url, None, Some(json), &mut |_| Ok(()))
    }

    fn exchange(
        &mut self,
        method: &'static str,
        url: &str,
        range: Option<(u64, u64)>,
        json: Option<&[u8]>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), AgentError> {
        let failed = |error: io::Error| AgentError::Request {
            method,
            url: url.to_owned(),
            why: with_causes(&error),
        };
        let place = Place::parse(url)?;
        let request = self.request(method, &place, range, json);
        let (mut wire, head) = self.send(&place, &request).map_err(failed)?;
        let wanted = if range.is_some() {
            head.status == 206
        } else {
            (200..300).contains(&head.status)
        };
        let mut said = Vec::new();
        let count = read_body(&mut wire, head.body, &mut |part| {
            if wanted {
                return take(part);
            }
            // The words of an error are not the bytes that were asked for.
            let room = 500_usize.saturating_sub(said.len());
            said.extend_from_slice(&part[..part.len().min(room)]);
            Ok(())
        })
        .map_err(failed)?;
        if !wanted {
            let said = String::from_utf8_lossy(&said);
            let why = format!("it answered {} {}", head.status, said.trim());
            return Err(failed(io::Error::other(why)));
        }
        if let Some((from, to)) = range
            && count != to - from
        {
            let why = format!("it sent {count} bytes instead of {}", to - from);
            return Err(failed(io::Error::other(why)));
        }
        if head.keep && head.body != Body::UntilEnd {
            self.open = Some((place.authority(), wire));
        }
        Ok(())
    }

    fn request(
        &self,
        method: &str,
        place: &Place,
        range: Option<(u64, u64)>,
        json: Option<&[u8]>,
    ) -> Vec<u8> {
        let mut head = format!(
            "{method} {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nuser-agent: deploy-agent\r\n",
            place.path,
            place.authority(),
            self.token
        );
        if let Some((from, to)) = range {
            head.push_str(&format!("range: bytes={from}-{}\r\n", to.saturating_sub(1)));
        }
        if let Some(json) = json {
            head.push_str("content-type: application/json\r\n");
            head.push_str(&format!("content-length: {}\r\n", json.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), json.unwrap_or_default()].concat()
    }

    /// Sends a request and reads the head of its answer. A connection that was kept open may have been closed
    /// at the other end meanwhile: then a new one is made, once.
    fn send(&mut self, place: &Place, request: &[u8]) -> io::Result<(BufReader<Wire>, Head)> {
        let ask = |mut wire: BufReader<Wire>| {
            wire.get_mut().write_all(request)?;
            wire.get_mut().flush()?;
            let head = read_head(&mut wire)?;
            Ok((wire, head))
        };
        if let Some((authority, wire)) = self.open.take()
            && authority == place.authority()
            && let Ok(answered) = ask(wire)
        {
            return Ok(answered);
        }
        ask(self.connect(place)?)
    }

    fn connect(&self, place: &Place) -> io::Result<BufReader<Wire>> {
        let tcp = TcpStream::connect_timeout(&SocketAddr::new(place.host, place.port), CONNECTING)?;
        tcp.set_read_timeout(Some(SILENCE))?;
        tcp.set_write_timeout(Some(SILENCE))?;
        tcp.set_nodelay(true)?;
        let wire = if place.tls {
            let name = ServerName::IpAddress(place.host.into());
            let session =
                ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
            Wire::Tls(Box::new(StreamOwned::new(session, tcp)))
        } else {
            Wire::Plain(tcp)
        };
        Ok(BufReader::with_capacity(256 << 10, wire))
    }
}

fn line(input: &mut dyn BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn read_head(input: &mut dyn BufRead) -> io::Result<Head> {
    loop {
        let first = line(input)?;
        let status = first.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status: u16 = status.ok_or_else(|| broken("the answer is not HTTP"))?;
        let (mut body, mut keep) = (Body::UntilEnd, first.starts_with("HTTP/1.1"));
        loop {
            let header = line(input)?;
            if header.is_empty() {
                break;
            }
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| broken("a header has no colon"))?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" if body != Body::Chunked => {
                    body = Body::Length(
                        value
                            .parse()
                            .map_err(|_| broken("the length is no number"))?,
                    );
                }
                "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => {
                    body = Body::Chunked
                }
                "connection" if value.eq_ignore_ascii_case("close") => keep = false,
                _ => {}
            }
        }
        match status {
            // More is to come.
            100..200 => {}
            204 | 304 => {
                return Ok(Head {
                    status,
                    body: Body::Length(0),
                    keep,
                });
            }
            _ => return Ok(Head { status, body, keep }),
        }
    }
}

/// Hands over the body; gives its length.
fn read_body(
    input: &mut dyn BufRead,
    body: Body,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    match body {
        Body::Length(length) => pass(input, length, take),
        Body::UntilEnd => {
            let mut count = 0;
            loop {
                let part = input.fill_buf()?;
                let length = part.len();
                if length == 0 {
                    return Ok(count);
                }
                take(part)?;
                input.consume(length);
                count += length as u64;
            }
        }
        Body::Chunked => {
            let mut count = 0;
            loop {
                let size = line(input)?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let size =
                    u64::from_str_radix(size, 16).map_err(|_| broken("a chunk has no length"))?;
                if size == 0 {
                    // Trailers, up to the empty line.
                    while !line(input)?.is_empty() {}
                    return Ok(count);
                }
                count += pass(input, size, take)?;
                line(input)?;
            }
        }
    }
}

fn pass(
    input: &mut dyn BufRead,
    length: u64,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let mut left = length;
    while left > 0 {
        let part = input.fill_buf()?;
        if part.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = part.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        take(&part[..count])?;
        input.consume(count);
        left -= count as u64;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let place = Place::parse("https://[2001:db8::1]:8004/v1/x?y").expect("parses");
        assert_eq!(
            (place.tls, place.port, place.path.as_str()),
            (true, 8004, "/v1/x?y")
        );
        assert_eq!(place.authority(), "[2001:db8::1]:8004");
        assert_eq!(
            Place::parse("http://192.0.2.1")
                .expect("parses")
                .authority(),
            "192.0.2.1:80"
        );
        assert_eq!(Place::parse("http://[::1]/").expect("parses").port, 80);
        assert!(Place::parse("http://seed/").is_err());
        assert!(Place::parse("ftp://192.0.2.1/").is_err());
    }

    #[track_caller]
    fn check(answer: &[u8], expect: Option<&[u8]>) {
        let mut input = BufReader::new(answer);
        let mut bytes = Vec::new();
        let read = read_head(&mut input).and_then(|head| {
            read_body(&mut input, head.body, &mut |part| {
                bytes.extend_from_slice(part);
                Ok(())
            })
        });
        assert_eq!(read.ok().map(|_| bytes.as_slice()), expect);
    }

    #[test]
    fn bodies_end_where_they_end() {
        check(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP",
            Some(b"abc"),
        );
        check(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nt: v\r\n\r\n", Some(b"abc"));
        check(b"HTTP/1.0 200 OK\r\n\r\nabc", Some(b"abc"));
        check(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
            Some(b""),
        );
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", None);
        check(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            None,
        );
        check(b"nonsense\r\n\r\n", None);
    }
}
