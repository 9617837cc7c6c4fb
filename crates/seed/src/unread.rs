//! Bodies that a handler answered without reading.
//!
//! Clients send a body after its headers. When the answer does not wait for it (a refused token, an
//! unknown path), the connection ends with that answer, and a client that keeps connections sends its next
//! request into a closed one: "remote end closed connection without response". So what is left of a
//! small body is read and thrown away before the answer goes out; for a large one the answer says that the
//! connection closes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// More than this is not worth reading only to be thrown away.
const MOST: u64 = 1 << 20;
/// A client that sends more slowly gets its answer without further waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// A body that comes back when it is let go of before its end.
struct Lent<B: HttpBody + Unpin> {
    body: Option<B>,
    back: Option<oneshot::Sender<B>>,
}

/// Where it comes back.
pub(crate) struct Unread<B> {
    back: Option<oneshot::Receiver<B>>,
    /// The client waits for a word before it sends the body, and the answer is that word.
    expects: bool,
}

/// Lends a body to a handler.
pub(crate) fn lend<B>(body: B, headers: &HeaderMap) -> (Body, Unread<B>)
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let expects = headers.contains_key(header::EXPECT);
    if body.is_end_stream() {
        let unread = Unread {
            back: None,
            expects,
        };
        return (Body::new(body), unread);
    }
    let (sender, receiver) = oneshot::channel();
    let lent = Lent {
        body: Some(body),
        back: Some(sender),
    };
    let unread = Unread {
        back: Some(receiver),
        expects,
    };
    (Body::new(lent), unread)
}

impl<B: HttpBody<Data = Bytes> + Unpin> Unread<B> {
    /// Reads what the handler left, or lets the answer say that the connection closes.
    pub(crate) async fn settle(self, response: &mut Response) {
        // Nothing comes back from one that was read to its end, or that the answer still reads.
        let Some(Ok(body)) = self.back.map(|mut back| back.try_recv()) else {
            return;
        };
        if self.expects || !drain(body).await {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
}

/// Reads a body to its end; whether that is where it is now.
async fn drain<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) -> bool {
    if body.size_hint().lower() > MOST {
        return false;
    }
    let reading = async {
        let mut read = 0;
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let Ok(frame) = frame else { return false };
            read += frame.data_ref().map_or(0, |data| data.len() as u64);
            if read > MOST {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(PATIENCE, reading).await == Ok(true)
}

impl<B: HttpBody + Unpin> HttpBody for Lent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map(HttpBody::size_hint)
            .unwrap_or_default()
    }
}

impl<B: HttpBody + Unpin> Drop for Lent<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            // Nobody waits any more when the connection is gone.
            let _ = back.send(body);
        }
    }
}
