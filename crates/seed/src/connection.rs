//! What happens on one connection.
//!
//! Hyper speaks HTTP. An idle connection is kept as long as the client wants, because clients report closed ones as
//! failures. Thousands of nodes hold a request each for minutes, and hyper's buffers alone would take 16 KiB for each of
//! them: while a request is held ([`Later`]), hyper is let go of, and only the socket and the wait stay. The answer is
//! written here, and hyper goes on with the next request.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, Request, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::later::{Holds, Later};
use crate::server::Services;

/// Buffers of connections of nodes. Hyper takes no less.
const SMALL_BUFFER: usize = 8 << 10;
/// Buffers of connections of operators may grow to this, so that uploads flow.
const LARGE_BUFFER: usize = 256 << 10;
/// A connection without a request for so long is given up; clients keep theirs for seconds.
const IDLE: Duration = Duration::from_secs(900);
/// A TLS handshake that takes longer is not going to succeed.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// So much of what a client sends while its request is held is read; the rest waits in the kernel.
const AHEAD: usize = 4 << 10;

/// A connection and what it needs.
pub(crate) struct Connection {
    pub(crate) services: Arc<Services>,
    /// The address of the listener.
    pub(crate) local: String,
    pub(crate) small: bool,
    /// The seed is to end.
    pub(crate) stop: CancellationToken,
    /// Nobody is let in any more: the request that is open is the last.
    pub(crate) ends: CancellationToken,
}

/// A request that is held.
struct Held {
    later: Later,
    /// Whether the connection ends with its answer.
    last: bool,
}

impl Connection {
    /// Speaks with a client until one of the two has enough.
    pub(crate) async fn accept(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Without it a node that lost power holds its connection for ever.
        let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
        let _ = stream.set_nodelay(true);
        match tls {
            None => self.serve(stream, "http").await,
            // Boxed: a connection without TLS, held by the thousand, must not carry the room for it.
            Some(tls) => Box::pin(self.accept_tls(stream, tls)).await,
        }
    }

    async fn accept_tls(self, stream: TcpStream, tls: TlsAcceptor) {
        // Boxed: the room for the handshake goes when it is over.
        let handshake = Box::pin(tokio::time::timeout(HANDSHAKE, tls.accept(stream)));
        match handshake.await {
            Ok(Ok(stream)) => self.serve(stream, "https").await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn serve<S: Stream>(self, stream: S, scheme: &'static str) {
        let mut socket = Socket::new(stream);
        loop {
            // Boxed: the room for hyper goes when a request is held.
            let Some((back, held)) = Box::pin(self.converse(socket, scheme)).await else {
                return;
            };
            socket = back;
            let Held { later, last } = held;
            let (response, gone) = hold(&mut socket, later).await;
            let last = last || gone || self.stop.is_cancelled();
            let written = Box::pin(write(&mut socket, response, last)).await;
            if let Err(error) = &written {
                tracing::debug!(%error, "a held request could not be answered");
            }
            if last || written.is_err() {
                return;
            }
        }
    }

    /// Lets hyper speak until a request is to be held; none when the connection is over.
    async fn converse<S: Stream>(
        &self,
        socket: Socket<S>,
        scheme: &'static str,
    ) -> Option<(Socket<S>, Held)> {
        let held = Arc::new(Mutex::new(None));
        let blocked = Arc::clone(&socket.blocked);
        let service = service_fn(|mut request: Request<Incoming>| {
            let held = Arc::clone(&held);
            async move {
                let last = is_last(request.version(), request.headers());
                request.extensions_mut().insert(Holds);
                let mut response = self.services.answer(request, scheme, &self.local).await;
                if let Some(later) = Later::of(&mut response) {
                    let last = last || is_last(Version::HTTP_11, response.headers());
                    *held.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(Held { later, last });
                    // Whoever polls hyper sees it now, and takes the connection away.
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = http(self.small).serve_connection(TokioIo::new(socket), service);
        let mut ends = pin!(self.ends.cancelled());
        let mut told = false;
        let taken = poll_fn(|context| {
            if !told && ends.as_mut().poll(context).is_ready() {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(ended.map(|()| None));
            }
            if blocked.load(Ordering::Relaxed) {
                // What hyper could not write yet is the answer to the request before.
                return Poll::Pending;
            }
            match held.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(held) => Poll::Ready(Ok(Some(held))),
                None => Poll::Pending,
            }
        });
        match taken.await {
            Ok(held) => {
                let held = held?;
                let parts = connection.into_parts();
                let mut socket = parts.io.into_inner();
                socket.put_back(&parts.read_buf);
                Some((socket, held))
            }
            Err(error) => {
                tracing::debug!(%error, "a connection ended early");
                None
            }
        }
    }
}

/// How hyper is to speak.
fn http(small: bool) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        // A client may say that it sends nothing more, and wait for its answer.
        .half_close(true)
        .max_buf_size(if small { SMALL_BUFFER } else { LARGE_BUFFER });
    http
}

/// Whether the client wants nothing after the answer to this.
fn is_last(version: Version, headers: &HeaderMap) -> bool {
    let words = headers.get_all(header::CONNECTION).iter();
    let mut words = words
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    version < Version::HTTP_11 || words.any(|word| word.trim().eq_ignore_ascii_case("close"))
}

/// Waits for the answer to a request; whether the client closed its side meanwhile.
async fn hold<S: Stream>(socket: &mut Socket<S>, later: Later) -> (Response, bool) {
    let Later { mut answer, early } = later;
    let answered = poll_fn(|context| {
        if let Poll::Ready(response) = answer.as_mut().poll(context) {
            return Poll::Ready(Some(response));
        }
        socket.poll_end(context).map(|()| None)
    });
    match answered.await {
        Some(response) => (response, false),
        // Most likely it is gone; if it only sends nothing more, it is not to wait in vain.
        None => (early(), true),
    }
}

/// Writes an answer as HTTP/1.1 has it.
async fn write<S: Stream>(
    socket: &mut Socket<S>,
    response: Response,
    last: bool,
) -> io::Result<()> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let status = parts.status;
    let mut bytes = format!(
        "HTTP/1.1 {} {}\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or_default()
    )
    .into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
            bytes.extend_from_slice(piece);
        }
    };
    for (name, value) in &parts.headers {
        line(name.as_str(), value.as_bytes());
    }
    if !matches!(status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT) {
        line("content-length", body.len().to_string().as_bytes());
    }
    if last {
        line("connection", b"close");
    }
    let now = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    line("date", now.to_string().as_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    socket.write_all(&bytes).await?;
    socket.flush().await?;
    if last {
        socket.shutdown().await?;
    }
    Ok(())
}

/// What a connection runs over: a socket, or TLS on one.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// A stream from which something was read ahead.
struct Socket<S> {
    stream: S,
    ahead: Vec<u8>,
    /// Whether the last write could not be done at once.
    blocked: Arc<AtomicBool>,
}

impl<S: Stream> Socket<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            ahead: Vec::new(),
            blocked: Arc::default(),
        }
    }

    /// Gives back what was read and not used.
    fn put_back(&mut self, bytes: &[u8]) {
        // Most of the time there is nothing, and then nothing is to be kept.
        if !bytes.is_empty() {
            self.ahead.splice(0..0, bytes.iter().copied());
        }
    }

    /// Ready when the client has closed its side. What it sends before is kept.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < AHEAD {
            let mut piece = [0; 512];
            let mut piece = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => {
                    self.ahead.extend_from_slice(piece.filled());
                }
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        self.blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }
}

impl<S: Stream> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = buffer.remaining().min(self.ahead.len());
        buffer.put_slice(&self.ahead[..count]);
        self.ahead.drain(..count);
        if self.ahead.is_empty() {
            self.ahead = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
