//! Executions of Step Functions, started without waiting for their end.

use std::fmt;

use aws_sdk_sfn::Client;
use aws_sdk_sfn::operation::start_execution::StartExecutionError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{AwsOptions, Fault, connect, judge};
use crate::retry;
use crate::store_error::{StoreError, StoreErrorKind};

/// A state machine of Step Functions, by its ARN. The ARN may name a version or an alias.
#[derive(Clone)]
pub struct StateMachine {
    client: Client,
    arn: String,
}

impl fmt::Debug for StateMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateMachine").field("arn", &self.arn).finish_non_exhaustive()
    }
}

/// Whether an execution of a name has begun by this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It has, or it still runs with the same input.
    Running,
    /// An earlier call began it, and it has ended.
    Before,
}

/// A failure to reach a state machine, or to start an execution of it.
#[derive(Debug, Clone)]
pub struct ExecutionError {
    kind: ExecutionErrorKind,
    arn: String,
    reason: String,
}

/// The caller's remedy for an [`ExecutionError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecutionErrorKind {
    /// Name a state machine that exists.
    NotFound,
    /// Fix the input: an ARN of something else, or an input that the service refuses.
    Invalid,
    /// Try again later. The call has retried already.
    Transient,
    /// Fix the settings: permission, credentials, region.
    Permanent,
}

impl ExecutionError {
    fn new(kind: ExecutionErrorKind, arn: &str, reason: impl fmt::Display) -> Self {
        Self { kind, arn: arn.to_owned(), reason: reason.to_string() }
    }

    /// The caller's remedy.
    pub fn kind(&self) -> ExecutionErrorKind {
        self.kind
    }

    /// Translates an error of the SDK.
    fn of<E>(arn: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let metadata = error.as_service_error();
        let code = metadata.and_then(ProvideErrorMetadata::code).unwrap_or_default();
        let message = metadata.and_then(ProvideErrorMetadata::message).unwrap_or_default();
        let said = format!("{code}: {message}");
        match code.rsplit('#').next().unwrap_or(code) {
            "StateMachineDoesNotExist" | "StateMachineDeleting" => {
                let reason = "there is no such state machine; correct its ARN";
                return Self::new(ExecutionErrorKind::NotFound, arn, reason);
            }
            "InvalidArn" | "InvalidExecutionInput" | "InvalidName" | "ValidationException" => {
                return Self::new(ExecutionErrorKind::Invalid, arn, said);
            }
            "ExecutionLimitExceeded" => return Self::new(ExecutionErrorKind::Transient, arn, said),
            _ => {}
        }
        match judge(error) {
            Fault::Lost(reason) | Fault::Rejected(reason) => Self::new(ExecutionErrorKind::Transient, arn, reason),
            Fault::Impossible(reason) | Fault::Astray(reason) | Fault::Unsupported(reason) => {
                Self::new(ExecutionErrorKind::Permanent, arn, reason)
            }
            other => Self::new(ExecutionErrorKind::Permanent, arn, format!("an unexpected answer: {said} ({other:?})")),
        }
    }
}

impl fmt::Display for ExecutionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start the state machine `{}`: {}", self.arn, self.reason)
    }
}

impl std::error::Error for ExecutionError {}

impl StateMachine {
    /// The state machine with this ARN, in the ARN's region. Makes no request.
    ///
    /// # Errors
    ///
    /// `Invalid` for the ARN of something else; `Permanent` where no credentials can be had.
    pub async fn open(arn: &str, options: &AwsOptions) -> Result<Self, ExecutionError> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", _, "states", region, _, "stateMachine", name, ..] = parts.as_slice() else {
            let reason = "expected an ARN of the form `arn:aws:states:REGION:ACCOUNT:stateMachine:NAME`";
            return Err(ExecutionError::new(ExecutionErrorKind::Invalid, arn, reason));
        };
        if region.is_empty() || name.is_empty() {
            return Err(ExecutionError::new(ExecutionErrorKind::Invalid, arn, "region or name is empty"));
        }
        let options = options.clone().region(Some((*region).to_owned()));
        let connected = connect(arn, &options).await;
        let failed = |error: StoreError| ExecutionError::new(kind_of(&error), arn, error.reason());
        Ok(Self { client: Client::new(&connected.map_err(failed)?), arn: arn.to_owned() })
    }

    /// Its ARN.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Starts the execution of this name with this input, a JSON text. A name that was used counts
    /// as started, so a caller whose answer was lost calls again. Express workflows do not keep
    /// names: there each call starts one more.
    ///
    /// # Errors
    ///
    /// [`ExecutionError`]; what may pass has been tried again for about 15 s.
    pub async fn start(&self, name: &str, input: &str) -> Result<Started, ExecutionError> {
        let call = || async {
            let request = self.client.start_execution().state_machine_arn(&self.arn).name(name).input(input);
            match request.send().await {
                Ok(_) => Ok(Started::Running),
                Err(error)
                    if error.as_service_error().is_some_and(StartExecutionError::is_execution_already_exists) =>
                {
                    Ok(Started::Before)
                }
                Err(error) => Err(ExecutionError::of(&self.arn, &error)),
            }
        };
        retry::while_transient(call, |error: &ExecutionError| error.kind() == ExecutionErrorKind::Transient).await
    }
}

fn kind_of(error: &StoreError) -> ExecutionErrorKind {
    match error.kind() {
        StoreErrorKind::Transient => ExecutionErrorKind::Transient,
        _ => ExecutionErrorKind::Permanent,
    }
}
