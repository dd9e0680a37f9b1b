//! Confirmation of irreversible commands: the user types the name of the target.

use std::io::{BufRead as _, IsTerminal as _};

use super::context::Context;
use super::exit::{Exit, Failure, Outcome};
use super::output::{complain, escape};

/// Prints the consequence `what` and asks the user to type `name`. The refusal proposes `command`
/// with `--yes`.
pub(crate) fn confirm(context: &Context, what: &str, name: &str, command: &str) -> Outcome {
    let refused = |reason: &str| Failure::new(Exit::Usage, reason).help(format!("`{command} --yes` does not ask"));
    if !std::io::stdin().is_terminal() {
        return Err(refused("nothing was done: there is no terminal to confirm it on"));
    }
    if context.output.json {
        return Err(refused("nothing was done: `--json` does not ask"));
    }
    complain(&format!("{}; type `{}` to go on: ", escape::shown(what), escape::shown(name)));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::file("read", "-", &error))?;
    if answer.trim() == name { Ok(()) } else { Err(refused("nothing was done")) }
}
