//! Failures of an append, with the lines that are in the log and the command to go on with.

use super::job::{Job, Tally};
use crate::exit::Failure;
use crate::input::{Input, Trust};
use crate::output::units::{bytes, counted};
use crate::quote::{option, quoted};

impl Job<'_> {
    /// A failure with the acknowledged lines and the command to resume with.
    pub(super) fn stopped(&self, failure: Failure, tally: Tally, trust: Trust) -> Failure {
        if trust != Trust::Sound && tally.ops > 0 {
            return self.in_doubt(failure, tally, trust);
        }
        let next = tally.line + 1;
        let acknowledged = if tally.line >= self.command.from_line {
            format!(
                "{} {} and all before it are acknowledged: {}, {}",
                if tally.unit.is_empty() { self.input.unit() } else { tally.unit },
                tally.line,
                counted(tally.ops, "op"),
                bytes(tally.bytes)
            )
        } else {
            "nothing of this input was appended by this command".to_owned()
        };
        let failure = failure
            .detail("input", self.input.name())
            .detail("acknowledged_ops", tally.ops)
            .detail("source", self.source.as_str())
            .detail("resume_from_line", next)
            .help(acknowledged);
        let source = option("--source", &self.source);
        let command = format!("{} {source} --from-line {next}", self.append(&self.input.argument()));
        self.and_the_rest(failure.help(format!("resume with: {command}")))
    }

    /// A failure where lines in the log are in doubt: their checksum is wrong, or was never
    /// reached. To resume behind them would keep wrong lines. To repeat them under their source
    /// would leave the right ones out.
    fn in_doubt(&self, failure: Failure, tally: Tally, trust: Trust) -> Failure {
        let from = self.command.from_line;
        let why = match trust {
            Trust::Unknown => "their checksum stands at the end of the input, which was not reached",
            Trust::Broken | Trust::Sound => "a checksum covers them only at the end of the input",
        };
        let lines = format!("lines {from} to {} are in the log, and any of them may be wrong: {why}", tally.line);
        let mut failure = failure
            .detail("input", self.input.name())
            .detail("acknowledged_ops", tally.ops)
            .detail("unreliable_lines", vec![from, tally.line])
            .detail("unchecked", trust == Trust::Unknown)
            .help(lines);
        if self.command.source.is_some() {
            failure = failure.help(format!(
                "do not use the source {} for them again: the log would take the right lines for repetitions",
                quoted(&self.source)
            ));
        }
        let file = match self.input {
            Input::Stdin => "FILE".to_owned(),
            Input::File(_) => self.input.argument(),
        };
        failure = failure.help(format!(
            "save a good copy in a file, and append all of it: {}. A file is checked before its first line is \
             appended, and each `put` replaces its wrong one",
            self.append(&file)
        ));
        if let Some(path) = self.command.rejects.path() {
            let path = path.display();
            failure = failure.help(format!("remove `{path}` before: its lines may be wrong, too"));
        }
        if let Some((shard, sequence)) = tally.first {
            failure = failure.help(format!(
                "that does not undo a wrong id, or an op other than `put`. This shows the appended ops: deltafold {}follow \
                 {} --shard {} --from {} --until-end",
                self.context.store_option(),
                self.command.collection,
                shard.get(),
                sequence.get()
            ));
        }
        self.and_the_rest(failure)
    }

    fn append(&self, input: &str) -> String {
        let (store, again) = (self.context.store_option(), self.command.again());
        format!("deltafold {store}append {} {input}{again}", self.command.collection)
    }

    fn and_the_rest(&self, failure: Failure) -> Failure {
        if self.rest.is_empty() {
            return failure;
        }
        let rest: Vec<String> = self.rest.iter().map(Input::argument).collect();
        failure.help(format!("then append the rest: {}", rest.join(" ")))
    }
}
