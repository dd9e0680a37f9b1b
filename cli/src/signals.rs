//! Signals that ask the program to stop.

use tokio::sync::watch;

use super::exit::{Exit, Failure};
use super::output;

/// The kind of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT: the user pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: a supervisor wants the program to end.
    Terminate,
}

impl Signal {
    /// The exit code of a command that this signal stopped, as shells have it.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Terminated,
        }
    }

    /// Its word in messages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupted",
            Self::Terminate => "terminated",
        }
    }
}

/// The signal that asked to stop, once one came.
pub(crate) type Stop = watch::Receiver<Option<Signal>>;

/// Listens from now on. A second signal ends the program at once.
///
/// Where the program cannot catch signals, they end it at once.
pub(crate) fn listen() -> Stop {
    let (set, stop) = watch::channel(None);
    let mut signals = Signals::new();
    #[expect(clippy::disallowed_methods, reason = "waits for a signal beside the command, and decides nothing else")]
    tokio::spawn(async move {
        if let Some(first) = signals.next().await {
            set.send_replace(Some(first));
            if let Some(second) = signals.next().await {
                std::process::exit(second.exit() as i32);
            }
        }
        set.closed().await;
    });
    stop
}

/// From now on a signal ends the program at once, with the exit code of the signal and this help.
/// For commands that need no time to stop: an interrupt is as safe as a crash.
///
/// This task ends the program, because the command itself may wait for a reader of its output.
pub(crate) fn end_program(help: &'static str, json: bool) {
    let mut signals = Signals::new();
    #[expect(clippy::disallowed_methods, reason = "waits for a signal beside the command, and ends the program")]
    tokio::spawn(async move {
        let Some(signal) = signals.next().await else { return };
        output::clear_progress();
        let problem = format!("{} before the command had ended", signal.word());
        let _ = Failure::new(signal.exit(), problem).help(help).report(json);
        std::process::exit(signal.exit() as i32);
    });
}

/// Waits for a signal to stop. Without one it waits for ever.
pub(crate) async fn stopped() {
    let mut stop = listen();
    if stop.wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self { interrupt: signal(SignalKind::interrupt()).ok(), terminate: signal(SignalKind::terminate()).ok() }
    }

    async fn next(&mut self) -> Option<Signal> {
        async fn one(signal: &mut Option<tokio::signal::unix::Signal>) {
            let came = match signal {
                Some(signal) => signal.recv().await.is_some(),
                None => false,
            };
            if !came {
                std::future::pending::<()>().await;
            }
        }
        tokio::select! {
            () = one(&mut self.interrupt) => Some(Signal::Interrupt),
            () = one(&mut self.terminate) => Some(Signal::Terminate),
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self
    }

    async fn next(&mut self) -> Option<Signal> {
        tokio::signal::ctrl_c().await.ok().map(|()| Signal::Interrupt)
    }
}
