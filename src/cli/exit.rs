//! How the program ends: exit codes that scripts may rely on, and errors that say what to do next.

use std::fmt;
use std::io;
use std::process::ExitCode;

use deltafold::ErrorKind;

/// The exit codes, as `--help` lists them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failed
    2  wrong usage: arguments
    3  bad input: data that a collection cannot hold; a line that is no op
    4  not found: collection, record, version, pin, object
    5  try again: busy, superseded, overtaken by somebody else's change, store unavailable
    6  damage found
   70  panic: a defect of Deltafold; the report says where
  130  interrupted";

/// What a failure means to a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    BadInput = 3,
    NotFound = 4,
    TryAgain = 5,
    Damaged = 6,
    Interrupted = 130,
}

impl Exit {
    fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::BadInput => "bad_input",
            Self::NotFound => "not_found",
            Self::TryAgain => "try_again",
            Self::Damaged => "damaged",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Why a command failed, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    help: Vec<String>,
    /// The reader of our output went away: no failure, and nobody to tell.
    quiet: bool,
    /// More for scripts, beside the message.
    details: serde_json::Map<String, serde_json::Value>,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        let details = serde_json::Map::new();
        Self { exit, message: message.to_string(), help: Vec::new(), quiet: false, details }
    }

    /// A failure to do something with a file.
    pub(crate) fn file(what: &str, path: &str, error: &io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        Self::new(exit, format!("cannot {what} `{path}`: {error}"))
    }

    /// Adds a line that says what to do.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds a field for scripts.
    #[must_use]
    pub(crate) fn detail(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Says it on standard error.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        use std::io::Write as _;
        if self.quiet {
            return ExitCode::SUCCESS;
        }
        let mut stderr = anstream::stderr().lock();
        // Where standard error is closed as well, only the exit code is left to tell.
        let _ = if json {
            let mut error = self.details.clone();
            error.insert("kind".into(), self.exit.name().into());
            error.insert("message".into(), self.message.clone().into());
            error.insert("help".into(), self.help.clone().into());
            writeln!(stderr, "{}", serde_json::json!({ "error": error }))
        } else {
            self.report_to_people(&mut stderr)
        };
        ExitCode::from(self.exit as u8)
    }

    fn report_to_people(&self, out: &mut impl io::Write) -> io::Result<()> {
        use owo_colors::OwoColorize as _;
        writeln!(out, "{} {}", "error:".red().bold(), self.message)?;
        self.help.iter().try_for_each(|help| writeln!(out, "{} {help}", "help:".cyan().bold()))
    }
}

impl From<deltafold::Error> for Failure {
    fn from(error: deltafold::Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::InvalidInput => Exit::BadInput,
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Busy | ErrorKind::Conflict | ErrorKind::Superseded | ErrorKind::Unavailable => Exit::TryAgain,
            ErrorKind::Corrupt => Exit::Damaged,
            _ => Exit::Failed,
        };
        let failure = Self::new(exit, &error);
        match error.kind() {
            ErrorKind::NotFound => failure.help(
                "`deltafold status` lists the collections of a store; `--store` or DELTAFOLD_STORE names another store",
            ),
            ErrorKind::Busy | ErrorKind::Conflict | ErrorKind::Unavailable => {
                failure.help("run the same command again")
            }
            ErrorKind::Superseded => {
                failure.help("run it again to read the current version; `deltafold pin` keeps a version readable")
            }
            ErrorKind::Corrupt => failure.help(
                "`deltafold verify --deep` lists everything that is damaged; `deltafold inspect` looks at one object",
            ),
            ErrorKind::NewerFormat => failure.help("update deltafold: a newer one wrote this"),
            ErrorKind::Storage => {
                failure.help("check the address of the store, the permissions there and, of a folder, the free space")
            }
            ErrorKind::OutOfMemory => failure.help("run it where more memory is free"),
            ErrorKind::Invariant => failure.help("please report this; nothing was published"),
            _ => failure,
        }
    }
}

impl From<deltafold::store::StoreError> for Failure {
    fn from(error: deltafold::store::StoreError) -> Self {
        deltafold::Error::from(error).into()
    }
}

#[cfg(feature = "sqs")]
impl From<deltafold::aws::QueueError> for Failure {
    fn from(error: deltafold::aws::QueueError) -> Self {
        use deltafold::aws::QueueErrorKind;
        let exit = match error.kind() {
            QueueErrorKind::NotFound => Exit::NotFound,
            QueueErrorKind::Invalid => Exit::BadInput,
            QueueErrorKind::Transient | QueueErrorKind::Busy => Exit::TryAgain,
            _ => Exit::Failed,
        };
        let failure = Self::new(exit, &error);
        match error.kind() {
            QueueErrorKind::NotFound => {
                failure.help("name the queue by its URL or ARN; `--region` and `--endpoint` say where it is")
            }
            QueueErrorKind::Transient | QueueErrorKind::Busy => failure.help("run the same command again"),
            _ => failure,
        }
    }
}

/// A failure to write the output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let quiet = error.kind() == io::ErrorKind::BrokenPipe;
        Self { quiet, ..Self::new(Exit::Failed, format!("cannot write the output: {error}")) }
    }
}
