//! A line to the server with a bandwidth limit.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use hyper::body::{Frame, SizeHint};
use s3s::{Body, StdError};

/// All bodies in one direction go through it, one after another.
#[derive(Debug, Clone)]
pub(super) struct Line {
    bytes_per_second: u64,
    free: Arc<Mutex<Instant>>,
}

impl Line {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, free: Arc::new(Mutex::new(Instant::now())) }
    }

    /// The time when this many more bytes are through.
    fn carry(&self, bytes: usize) -> Instant {
        let takes = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / self.bytes_per_second);
        let mut free = self.free.lock().unwrap();
        *free = (*free).max(Instant::now()) + takes;
        *free
    }

    /// The body, at the speed of the line.
    pub(super) fn through(&self, body: Body) -> Body {
        let (line, size) = (self.clone(), hyper::body::Body::size_hint(&body));
        let frames = http_body_util::BodyStream::new(body).then(move |frame| {
            let bytes = frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len);
            let through = line.carry(bytes);
            async move {
                tokio::time::sleep_until(through.into()).await;
                frame
            }
        });
        Body::http_body_unsync(Slow { frames: frames.boxed(), size })
    }
}

/// A body with the size hint of the one behind it.
struct Slow {
    frames: BoxStream<'static, Result<Frame<Bytes>, StdError>>,
    size: SizeHint,
}

impl hyper::body::Body for Slow {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        Pin::new(&mut self.frames).poll_next(context)
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}
