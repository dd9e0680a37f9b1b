//! The end of the program: exit codes that scripts may rely on, and errors with the next step.

use std::fmt;
use std::io;

use deltafold::ErrorKind;

use super::output::{complain, escape};

/// The exit codes, as `--help` lists them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failed
    2  wrong usage: arguments
    3  bad input: data that a collection cannot hold; a line that is not an op
    4  not found: collection, record, version, pin, object
    5  try again: busy, superseded, overtaken by another change, store unavailable
    6  damage found
    7  done in part: some of the input was turned away, and is in a file of rejects
    8  messages failed: `ingest --until-empty` has left them in the queue or to its dead letters
   70  panic: a defect of Deltafold; the report says where
   71  out of memory
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)
A closed standard output ends `scan`, `follow` and `map` with 0. All other commands do their work
to the end, and their exit code tells of that.";

/// The meaning of a failure to a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    BadInput = 3,
    NotFound = 4,
    TryAgain = 5,
    Damaged = 6,
    Partly = 7,
    #[cfg_attr(not(feature = "sqs"), expect(dead_code, reason = "only a queue makes it"))]
    MessagesFailed = 8,
    OutOfMemory = crate::out_of_memory::EXIT_CODE as isize,
    Interrupted = 130,
    Terminated = 143,
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
            Self::Partly => "partly",
            Self::MessagesFailed => "messages_failed",
            Self::OutOfMemory => "out_of_memory",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }
}

/// The reason of a failed command, and the next step.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    help: Vec<String>,
    /// The reader of our output went away. That is not a failure, so there is no message.
    quiet: bool,
    /// Fields for scripts beside the message.
    details: serde_json::Map<String, serde_json::Value>,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        let details = serde_json::Map::new();
        Self { exit, message: message.to_string(), help: Vec::new(), quiet: false, details }
    }

    /// Whether the thing named does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.exit == Exit::NotFound
    }

    /// A failure of an operation on a file.
    pub(crate) fn file(what: &str, path: &str, error: &io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        Self::new(exit, format!("cannot {what} `{path}`: {error}"))
    }

    /// Arguments that clap refuses: its first line as the message, the rest as help.
    pub(crate) fn usage(text: &str) -> Self {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let message = lines.next().unwrap_or("the arguments cannot be understood");
        let failure = Self::new(Exit::Usage, message.strip_prefix("error: ").unwrap_or(message));
        lines.fold(failure, |failure, line| failure.help(line.strip_prefix("tip: ").unwrap_or(line)))
    }

    /// The work is done, but its output could not be written.
    pub(crate) fn unwritten(error: &io::Error) -> Self {
        Self::new(Exit::Failed, format!("the command did its work, and its output could not be written: {error}"))
            .help("make room for the output; do not repeat the work without need")
    }

    /// Adds a line with the next step.
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

    /// Prints the failure on standard error, and returns the exit code.
    pub(crate) fn report(&self, json: bool) -> u8 {
        if self.quiet {
            return 0;
        }
        // Where standard error is closed as well, only the exit code remains.
        if json {
            let mut error = self.details.clone();
            error.insert("kind".into(), self.exit.name().into());
            error.insert("message".into(), self.message.clone().into());
            error.insert("help".into(), self.help.clone().into());
            let line = serde_json::json!({ "error": error }).to_string();
            complain(&format!("{}\n", String::from_utf8_lossy(&escape::json(line.as_bytes()))));
        } else {
            complain(&self.text());
        }
        self.exit as u8
    }

    /// For people: the message, and a line for each help. Only our own words have colours.
    fn text(&self) -> String {
        use owo_colors::OwoColorize as _;
        let mut text = format!("{} {}\n", "error:".red().bold(), escape::shown(&self.message));
        for help in &self.help {
            text.push_str(&format!("{} {}\n", "help:".cyan().bold(), escape::shown(help)));
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<deltafold::Error> for Failure {
    fn from(error: deltafold::Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::InvalidInput => Exit::BadInput,
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Busy | ErrorKind::Conflict | ErrorKind::Superseded | ErrorKind::Unavailable => Exit::TryAgain,
            ErrorKind::Corrupt => Exit::Damaged,
            ErrorKind::OutOfMemory => Exit::OutOfMemory,
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
                "`deltafold verify --deep` lists everything that is damaged; `deltafold inspect` looks at one object; \
                 `deltafold repair` rebuilds registers",
            ),
            ErrorKind::NewerFormat => failure.help("update deltafold: a newer one wrote this"),
            ErrorKind::Storage => failure
                .help("`deltafold doctor` tries what the store can do; docs/s3.md says what to do about each error"),
            ErrorKind::OutOfMemory => failure.help("set a smaller `--memory`, or let the process have more"),
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
