//! The memory of bodies, bounded for all requests together.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which room is taken.
const UNIT: usize = 4 << 10;
/// A request of this many bytes or fewer takes no room. Connections bound their number.
const FREE: usize = 32 << 10;

/// Room for the bodies that are in memory at once, and for the ops that they become.
#[derive(Debug, Clone)]
pub(super) struct Room {
    left: Arc<Semaphore>,
    units: u32,
}

/// The room that one request holds, until its answer is sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Room {
    pub(super) fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT as u64).unwrap_or(u32::MAX).max(1);
        Self { left: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Waits for this many bytes, and takes them for a request. More than there ever is counts as
    /// all of it.
    pub(super) async fn wait(&self, held: &Held, bytes: usize) {
        if bytes > FREE
            // The semaphore is never closed.
            && let Ok(permit) = self.left.clone().acquire_many_owned(self.units_of(bytes).min(self.units)).await
        {
            held.add(permit);
        }
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
    }
}

impl Held {
    fn add(&self, permit: OwnedSemaphorePermit) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            Some(held) => held.merge(permit),
            None => *held = Some(permit),
        }
    }

    /// Keeps the room until the body of the answer is sent or given up.
    pub(super) fn until_sent(self, response: Response) -> Response {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return response;
        }
        response.map(|body| Body::new(Holding { body, _held: self }))
    }
}

/// A body with the room that it takes.
struct Holding {
    body: Body,
    _held: Held,
}

impl HttpBody for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_body_waits_until_the_answer_before_is_sent() {
        let room = Room::new(1 << 20);
        let (first, second) = (Held::default(), Held::default());
        room.wait(&first, 800 << 10).await;
        assert!(room.wait(&second, 800 << 10).now_or_never().is_none());
        room.wait(&second, FREE).await;
        let answer = first.until_sent(Response::new(Body::from("sent")));
        assert!(room.wait(&second, 800 << 10).now_or_never().is_none());
        drop(answer);
        room.wait(&second, 800 << 10).await;
    }

    #[tokio::test]
    async fn a_body_larger_than_all_room_gets_all_of_it() {
        let room = Room::new(1 << 20);
        let held = Held::default();
        room.wait(&held, 1 << 30).await;
        assert!(room.wait(&Held::default(), 64 << 10).now_or_never().is_none());
    }
}
