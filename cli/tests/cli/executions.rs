//! `reset --then-execute`: a state machine of the emulator begins when the collection is gone.

use deltafold_testing::ministack;
use deltafold_testing::s3::{BUCKET, Fault, Server};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::home::{Ran, puts};

fn states(action: &str, body: &Value) -> Value {
    ministack::call(ministack::endpoint(), &format!("AWSStepFunctions.{action}"), body)
}

/// A state machine that does nothing.
fn machine(name: &str) -> String {
    let definition = json!({ "StartAt": "End", "States": { "End": { "Type": "Pass", "End": true } } }).to_string();
    let role = "arn:aws:iam::000000000000:role/states";
    let made = states("CreateStateMachine", &json!({ "name": name, "definition": definition, "roleArn": role }));
    made["stateMachineArn"].as_str().unwrap().to_owned()
}

fn executions(machine: &str) -> Vec<Value> {
    let listed = states("ListExecutions", &json!({ "stateMachineArn": machine }));
    listed["executions"].as_array().unwrap().clone()
}

struct Resets {
    cloud: Cloud,
    front: Server,
}

impl Resets {
    fn with_collection() -> Self {
        let resets = Self { cloud: Cloud::new(), front: Server::in_front_of(ministack::endpoint()) };
        resets.fill();
        resets
    }

    fn fill(&self) {
        self.cloud.run("create c --dimension 2").ok();
        self.cloud.run_with("append c", &puts(3)).ok();
    }

    fn run(&self, arguments: &str) -> Ran {
        let mut command = self.cloud.command(arguments);
        command.env("AWS_ENDPOINT_URL_SFN", self.front.endpoint());
        Ran::of(command.output().unwrap())
    }

    fn paths(&self) -> Vec<String> {
        self.cloud.server.backend.paths(BUCKET)
    }
}

/// The answer of the start is lost. The same command goes on, and what was begun does not begin
/// again. Another reset is another execution.
#[test]
fn an_execution_begins_once_a_reset() {
    let resets = Resets::with_collection();
    let machine = machine("cli-once");
    let reset = format!("reset c --yes --then-execute {machine}");
    resets.run(&format!("{reset} --dry-run")).ok().says("would start an execution of arn:aws:states");
    assert!(executions(&machine).is_empty());
    resets.front.fail_always("other", "", Fault::AnswerAfter(403, "AccessDeniedException"));
    resets.run(&reset).ends_with(1).complains("states:StartExecution").complains("the same command goes on");
    resets.front.heal();
    assert_eq!(executions(&machine).len(), 1);
    let paths = resets.paths();
    assert!(paths.len() == 1 && paths[0].ends_with("RESET/c"), "the note stays, and nothing else: {paths:?}");
    // The note knows what was to be begun.
    let done = resets.run("reset c --yes --json").ok().json();
    assert_eq!(executions(&machine).len(), 1, "it began once");
    assert_eq!(done["then"]["execution"], executions(&machine)[0]["name"]);
    assert!(resets.paths().is_empty());
    let first = states("DescribeExecution", &json!({ "executionArn": executions(&machine)[0]["executionArn"] }));
    assert_eq!(serde_json::from_str::<Value>(first["input"].as_str().unwrap()).unwrap(), json!({ "collection": "c" }));

    resets.fill();
    resets.run(&format!("{reset} --then-input {{\"day\":1}}")).ok().says("started the execution reset-c-");
    let inputs: Vec<Value> = executions(&machine)
        .iter()
        .map(|one| states("DescribeExecution", &json!({ "executionArn": one["executionArn"] }))["input"].clone())
        .collect();
    assert_eq!(inputs.len(), 2, "{inputs:?}");
    assert!(inputs.contains(&json!("{\"day\":1}")), "{inputs:?}");
}

#[test]
fn a_wrong_state_machine_is_told_before_or_named_behind() {
    let resets = Resets::with_collection();
    let refused = |more: &str, code: i32, words: &str| {
        resets.run(&format!("reset c --yes {more}")).ends_with(code).complains(words);
        assert_eq!(resets.cloud.run("count c").ok().stdout.trim(), "3", "{more}: nothing has gone");
    };
    let machine = machine("cli-wrong");
    refused(
        "--then-execute arn:aws:sqs:us-east-1:000000000000:q",
        3,
        "arn:aws:states:REGION:ACCOUNT:stateMachine:NAME",
    );
    refused(&format!("--then-execute {machine} --then-input {{"), 2, "expected JSON");
    refused(&format!("--then-execute {machine} --no-wait"), 2, "--no-wait");
    // The service alone knows which ones there are.
    let none = "arn:aws:states:us-east-1:000000000000:stateMachine:none";
    resets.run(&format!("reset c --yes --then-execute {none}")).ends_with(4).complains("no such state machine");
    resets.run(&format!("reset c --yes --then-execute {machine}")).ok();
    assert_eq!(executions(&machine).len(), 1);
    assert!(resets.paths().is_empty());
}
