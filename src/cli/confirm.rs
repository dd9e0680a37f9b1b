//! What cannot be undone is confirmed by typing the name of what it is done to.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::exit::{Exit, Failure, Outcome};

/// Says `what` will happen and has `name` typed again. `command` is what the user called, to be called with `--yes` by who does not want to be asked.
pub(crate) fn confirm(what: &str, name: &str, command: &str) -> Outcome {
    let refused = |reason: &str| Failure::new(Exit::Usage, reason).help(format!("`{command} --yes` does not ask"));
    if !std::io::stdin().is_terminal() {
        return Err(refused("nothing was done: there is no terminal to confirm it on"));
    }
    let mut stderr = anstream::stderr();
    let question = format!("{what}; type `{name}` to go on: ");
    stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::file("read", "-", &error))?;
    if answer.trim() == name { Ok(()) } else { Err(refused("nothing was done")) }
}
