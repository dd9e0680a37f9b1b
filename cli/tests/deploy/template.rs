//! The deployment: its template and its Pulumi program against linters, rules of our own, and an
//! emulator that applies the template.
//!
//! The checks are Python, as the tools are; `checks/` holds them.

use std::path::Path;
use std::process::Command;

use deltafold_testing::{ministack, venv};

const REQUIREMENTS: &str = include_str!("checks/requirements.txt");

fn path(within: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(within)
}

fn python(check: &str) -> Command {
    let mut command = Command::new(venv::installed("deploy", REQUIREMENTS).join("bin/python"));
    command.arg("-B").arg(path("cli/tests/deploy/checks").join(check));
    command
}

#[test]
fn cloudformation_takes_the_templates() {
    let lint = venv::installed("deploy", REQUIREMENTS).join("bin/cfn-lint");
    for template in ["docs/deploy/template.yaml", "python/examples/lambda/template.yaml"] {
        venv::run(Command::new(&lint).arg("--regions").arg("us-east-1").arg("--").arg(path(template)));
    }
}

#[test]
fn the_template_keeps_rules_that_every_bad_twin_breaks() {
    let said = venv::run(python("check_template.py").arg(path("docs/deploy/template.yaml")));
    assert!(said.contains(" checks"), "{said}");
}

#[test]
fn the_pulumi_program_keeps_the_same_rules() {
    for (source, serve) in
        [("stream", "no"), ("forwarder", "iam"), ("kinesis", "no"), ("fifo", "tokens"), ("standard", "no")]
    {
        let said = venv::run(python("check_pulumi.py").arg(path("docs/deploy/pulumi")).args([source, serve]));
        assert!(said.contains("resources"), "{source}: {said}");
    }
}

#[test]
fn the_template_can_be_deployed() {
    let said = venv::run(python("check_stack.py").arg(ministack::endpoint()).arg(path("docs/deploy/template.yaml")));
    assert_eq!(said.lines().count(), 5, "{said}");
}
