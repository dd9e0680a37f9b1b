//! `serve`: the HTTP API behind a function URL.
//!
//! All state is in the store, so any number of instances answer at once. An instance keeps open
//! collections and copies of parts between invocations. Reads always look for the latest state: the
//! clock of a frozen instance stands still, so no age of a snapshot could be trusted.

use std::collections::HashMap;
use std::sync::Arc;

use deltafold_format::CollectionName;
use serde_json::Value;
use serde_json::value::RawValue;

use super::deadline::Deadline;
use super::failure::Failure;
use super::fold_request::FoldRequest;
use super::metrics::{Measured, Metric, lost_races};
use super::serve_settings::{Auth, ServeSettings};
use super::threshold::Threshold;
use super::url::{self, Called};
use crate::env::{Env as _, System};
use crate::error::Result;
use crate::location::Location;
use crate::serve::{ApiError, Watched, refused};
use crate::store::Store;

/// Collections whose logs an instance watches, at most. It forgets all of them beyond that.
const WATCHED: usize = 4_096;

/// The function, kept between invocations.
#[derive(Debug)]
pub(super) struct Serve {
    store: Location,
    settings: ServeSettings,
    folding: Option<FoldRequest>,
    watched: HashMap<CollectionName, Threshold>,
    /// The store and the server, once a request has come.
    open: Option<(Arc<dyn Store>, Watched)>,
}

impl Serve {
    pub(super) fn new(store: Location, settings: ServeSettings) -> Self {
        let folding = settings.compact_function.clone().map(FoldRequest::new);
        let store = match settings.cache {
            0 => store,
            bytes => store.cached_in(&std::env::temp_dir().join("deltafold-parts"), bytes),
        };
        Self { store, settings, folding, watched: HashMap::new(), open: None }
    }

    /// Answers the request of an event, and prints its metrics.
    pub(super) async fn handle(
        &mut self,
        payload: Box<RawValue>,
        id: &str,
        deadline: Deadline,
    ) -> Result<Value, Failure> {
        let requested = |serve: &Self| serve.open.as_ref().map(|(store, _)| store.requests()).unwrap_or_default();
        let before = requested(self);
        let response = self.response(payload, deadline).await?;
        let requests = requested(self).since(&before);
        let mut measured = Measured::default();
        measured.count(Metric::Failed, response.status().is_server_error().into());
        measured.count(Metric::Conflicts, lost_races(&requests));
        measured.requests(&requests);
        measured.print_of_function("serve", id, System.now());
        match url::answer(response) {
            Ok(answer) => Ok(answer),
            Err(error) => url::answer(refused(error).await).map_err(|_| Failure::event("no answer fits".to_owned())),
        }
    }

    async fn response(
        &mut self,
        payload: Box<RawValue>,
        deadline: Deadline,
    ) -> Result<http::Response<bytes::Bytes>, Failure> {
        let called = url::called(&payload)?;
        drop(payload);
        Ok(match called {
            Ok(called) if self.settings.auth == Auth::Iam && !called.is_signed => {
                refused(ApiError::forbidden(
                    "this function answers signed requests alone, and its URL checks no signature; set the URL's \
                     auth type to `AWS_IAM`, or DELTAFOLD_AUTH of the function",
                ))
                .await
            }
            Ok(called) => self.answer(called, deadline).await,
            Err(error) => refused(error).await,
        })
    }

    async fn answer(&mut self, Called { request, .. }: Called, deadline: Deadline) -> http::Response<bytes::Bytes> {
        let server = match self.opened().await {
            Ok(server) => server,
            Err(error) => return refused(error.into()).await,
        };
        let response = server.answer(request, deadline.left(), url::MAX_BODY).await;
        let grown = server.grown();
        for (collection, segments) in grown {
            self.has_grown(&collection, segments, deadline).await;
        }
        match response {
            Some(response) => response,
            None => refused(url::too_large()).await,
        }
    }

    /// The server. The first request opens it: a start that reads nothing is quicker.
    async fn opened(&mut self) -> Result<&mut Watched> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let options = self.settings.options.clone().location(self.store.clone());
                let store = self.store.store().await?;
                (store.clone(), Watched::new(store, options)?)
            }
        };
        Ok(&mut self.open.insert(open).1)
    }

    /// Asks for a fold where a log is long. Nothing depends on it: the schedule folds later.
    async fn has_grown(&mut self, name: &CollectionName, segments: u64, deadline: Deadline) {
        let Some(folding) = &mut self.folding else { return };
        if self.watched.len() >= WATCHED && !self.watched.contains_key(name) {
            self.watched.clear();
        }
        let threshold = self.settings.fold_segments;
        let threshold = self.watched.entry(name.clone()).or_insert_with(|| Threshold::new(threshold));
        if !threshold.reached(segments) {
            return;
        }
        match folding.send(name, deadline).await {
            Ok(()) => tracing::info!(collection = %name, segments, "the log is long; its fold was requested"),
            Err(reason) => {
                tracing::warn!(collection = %name, segments, reason, "the log is long, and a fold could not be requested");
                threshold.forget();
            }
        }
    }
}
