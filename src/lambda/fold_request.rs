//! The request for a fold before its time, to the function that folds.

use deltafold_format::CollectionName;
use serde_json::json;

use super::deadline::Deadline;
use crate::aws::Functions;

/// Starts the function that folds.
#[derive(Debug)]
pub(super) struct FoldRequest {
    function: String,
    functions: Option<Functions>,
}

impl FoldRequest {
    /// Requests to this function, by name or ARN.
    pub(super) fn new(function: String) -> Self {
        Self { function, functions: None }
    }

    /// Asks for a fold of a collection. One request, which does not wait for the fold.
    pub(super) async fn send(&mut self, name: &CollectionName, deadline: Deadline) -> Result<(), String> {
        let sending = async {
            let functions = match self.functions.take() {
                Some(functions) => functions,
                None => Functions::open().await.map_err(|error| error.to_string())?,
            };
            let event = json!({ "collections": [name.as_str()] }).to_string();
            let started = functions.start(&self.function, event).await;
            self.functions = Some(functions);
            started.map_err(|error| error.to_string())
        };
        deadline.bound(sending).await.unwrap_or(Err("it took too long".to_owned()))
    }
}
