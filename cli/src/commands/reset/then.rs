//! The execution of a state machine with which a reset ends.

use clap::Args;
use deltafold::ThenExecute;
use deltafold::aws::{AwsOptions, ExecutionError, ExecutionErrorKind, Started, StateMachine};
use deltafold::format::CollectionName;
use deltafold::{Env as _, System};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, Args)]
pub(super) struct ThenArguments {
    /// Start an execution of this state machine of Step Functions at the end, such as one that
    /// creates and fills the collection. However often the command is run again, it starts once
    #[arg(long, value_name = "ARN", conflicts_with = "no_wait")]
    then_execute: Option<String>,
    /// The execution's input [default: {"collection": NAME}]
    #[arg(long, value_name = "JSON", requires = "then_execute", value_parser = parse_input)]
    then_input: Option<String>,
}

fn parse_input(text: &str) -> Result<String, String> {
    match serde_json::from_str::<Value>(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("expected JSON: {error}")),
    }
}

/// A state machine, and the execution to start.
pub(super) struct Then {
    machine: StateMachine,
    pub(super) execution: ThenExecute,
}

impl ThenArguments {
    /// The execution of these arguments. A reset that was broken off keeps the name of its own, or
    /// the whole of it where nothing is named.
    pub(super) async fn of(&self, name: &CollectionName, noted: Option<&ThenExecute>) -> Outcome<Option<Then>> {
        let execution = match (&self.then_execute, noted) {
            (None, None) => return Ok(None),
            (None, Some(noted)) => noted.clone(),
            (Some(arn), noted) => {
                let input = match &self.then_input {
                    Some(input) => input.clone(),
                    None => json!({ "collection": name.as_str() }).to_string(),
                };
                let noted = noted.filter(|noted| noted.arn == *arn && noted.input == input);
                noted.cloned().unwrap_or_else(|| {
                    // A name has 80 characters at most.
                    let short: String = name.as_str().chars().take(40).collect();
                    ThenExecute { arn: arn.clone(), name: format!("reset-{short}-{}", System.uid()), input }
                })
            }
        };
        let machine = StateMachine::open(&execution.arn, &AwsOptions::default()).await?;
        Ok(Some(Then { machine, execution }))
    }
}

impl Then {
    pub(super) async fn start(&self) -> Outcome<Started> {
        let started = self.machine.start(&self.execution.name, &self.execution.input).await;
        started.map_err(|error| {
            Failure::from(error).help("the collection is dropped; the same command goes on with the execution")
        })
    }

    pub(super) fn document(&self) -> Value {
        json!({ "state_machine": self.execution.arn, "execution": self.execution.name })
    }
}

impl From<ExecutionError> for Failure {
    fn from(error: ExecutionError) -> Self {
        let (exit, help) = match error.kind() {
            ExecutionErrorKind::NotFound => (Exit::NotFound, "name the state machine by its ARN"),
            ExecutionErrorKind::Invalid => (Exit::BadInput, "correct `--then-execute` or `--then-input`"),
            ExecutionErrorKind::Transient => (Exit::TryAgain, "run the same command again"),
            _ => (Exit::Failed, "the command needs `states:StartExecution` on the state machine"),
        };
        Self::new(exit, &error).help(help)
    }
}
