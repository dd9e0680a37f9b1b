//! `completions`: the completions of our arguments for a shell.

use clap::{Args, Command};

use crate::context::Context;
use crate::exit::Outcome;

/// Print the completions of a shell:
/// `deltafold completions bash > /etc/bash_completion.d/deltafold`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl Completions {
    /// Prints the completions of `program`.
    pub(crate) fn run(self, context: &Context, program: &mut Command) -> Outcome {
        // Through memory, because the generator panics when its output is closed.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, program, "deltafold", &mut script);
        Ok(context.output.raw(&script)?)
    }
}
