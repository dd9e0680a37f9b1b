//! Functions of AWS Lambda, started without waiting for their answers.

use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;

use super::{AwsOptions, connect};
use crate::store_error::{StoreError, StoreErrorKind};

/// A client of functions.
#[derive(Debug)]
pub(crate) struct Functions(Client);

impl Functions {
    /// The functions of the account whose credentials are found. Makes no request.
    pub(crate) async fn open() -> Result<Self, StoreError> {
        Ok(Self(Client::new(&connect("AWS Lambda", &AwsOptions::default()).await?)))
    }

    /// Starts a function, by name or ARN, with this event. One request without a retry. A caller
    /// that needs the function asks again.
    pub(crate) async fn start(&self, function: &str, event: String) -> Result<(), StoreError> {
        let request = self.0.invoke().function_name(function).invocation_type(InvocationType::Event);
        let answer = request.payload(Blob::new(event)).send().await;
        let reason = |error| aws_smithy_types::error::display::DisplayErrorContext(error).to_string();
        answer
            .map(drop)
            .map_err(|error| StoreError::new(StoreErrorKind::Transient, "start the function", function, reason(error)))
    }
}
