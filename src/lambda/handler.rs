//! One of the functions, called by the program that runs it.

use std::fmt;

use lambda_runtime::{Context, LambdaEvent};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tracing::Instrument;

use super::compact::Compact;
use super::config::{Config, Function};
use super::deadline::Deadline;
use super::event::Event;
use super::failure::Failure;
use super::forward::Forward;
use super::ingest::Ingest;
use super::serve::Serve;
use super::target::Target;
use crate::error::{Error, Result};

/// A function that another program runs, for example one in Python.
///
/// It keeps its collection and its connections between invocations. Calls take turns.
pub struct Handler {
    state: Mutex<State>,
}

/// The state of the function, kept between invocations.
enum State {
    Ingest(Ingest),
    Forward(Forward),
    Compact(Compact),
    Serve(Serve),
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").finish_non_exhaustive()
    }
}

impl Handler {
    /// Reads the variables that [`main`](super::main) reads. It opens nothing yet.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, which names every variable that is wrong.
    pub fn new(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        Config::read(variable).and_then(Self::of).map_err(Error::invalid)
    }

    pub(super) fn of(config: Config) -> Result<Self, String> {
        let Config { function, store, collections, mapping, objects, memory } = config;
        let target = |store| {
            let name = collections.first().ok_or("no collection is named")?.clone();
            Ok::<_, String>(Target { store, name, mapping, objects, memory })
        };
        let state = match function {
            Function::Ingest(settings) => State::Ingest(Ingest::new(target(store)?, settings)),
            Function::Forward { queue, groups } => State::Forward(Forward::new(target(store)?, queue, groups)),
            Function::Compact => State::Compact(Compact::new(store, collections, memory)),
            Function::Serve(settings) => State::Serve(Serve::new(store, *settings)),
        };
        Ok(Self { state: Mutex::new(state) })
    }

    /// Handles an event, and returns the answer: for queues and streams, the failures of the batch.
    ///
    /// `deadline` is when the service stops the program, in milliseconds since 1970. The call ends
    /// a little earlier.
    ///
    /// # Errors
    ///
    /// The failure of the whole invocation, which the service then repeats. Each op that was
    /// acknowledged before takes effect once.
    pub async fn handle(&self, event: &str, request: &str, deadline: u64) -> Result<Value, Failure> {
        let payload = RawValue::from_string(event.to_owned())
            .map_err(|error| Failure::event(format!("the event is no JSON: {error}")))?;
        let mut context = Context::default();
        context.request_id = request.to_owned();
        context.deadline = deadline;
        self.invoked(LambdaEvent::new(payload, context)).await
    }

    pub(super) async fn invoked(&self, event: LambdaEvent<Box<RawValue>>) -> Result<Value, Failure> {
        let span = tracing::error_span!("invocation", request = event.context.request_id);
        async {
            let answer = self.state.lock().await.answer(event).await;
            if let Err(failure) = &answer {
                tracing::error!(reason = %failure, "the invocation failed; the service makes it again");
            }
            answer
        }
        .instrument(span)
        .await
    }
}

impl State {
    async fn answer(&mut self, event: LambdaEvent<Box<RawValue>>) -> Result<Value, Failure> {
        let LambdaEvent { payload, context, .. } = event;
        let deadline = Deadline::of(context.deadline);
        match self {
            Self::Ingest(ingest) => {
                let event = Event::read(payload.get())?;
                drop(payload);
                ingest.handle(event, &context.request_id, deadline).await
            }
            Self::Forward(forward) => {
                let event = Event::read(payload.get())?;
                drop(payload);
                forward.handle(event, &context.request_id, deadline).await
            }
            Self::Compact(compact) => {
                let event = Event::read(payload.get())?;
                drop(payload);
                compact.handle(event, &context.request_id, deadline).await
            }
            Self::Serve(serve) => serve.handle(payload, &context.request_id, deadline).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_is_an_error_of_input() {
        let error = Handler::new(|name| (name == "DELTAFOLD_FUNCTION").then(|| "ingest".to_owned())).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("DELTAFOLD_STORE is not set"), "{error}");
    }

    #[tokio::test]
    async fn an_event_that_is_no_json_fails_the_invocation() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().to_str().unwrap().to_owned();
        let handler = Handler::new(|name| match name {
            "DELTAFOLD_FUNCTION" => Some("compact".to_owned()),
            "DELTAFOLD_STORE" => Some(store.clone()),
            "DELTAFOLD_COLLECTION" => Some("*".to_owned()),
            _ => None,
        });
        let handler = handler.unwrap();
        let failure = handler.handle("{", "r", u64::MAX).await.unwrap_err();
        assert_eq!(failure.kind(), "Event");
        assert_eq!(handler.handle("{}", "r", u64::MAX).await.unwrap(), serde_json::json!({ "collections": [] }));
    }
}
