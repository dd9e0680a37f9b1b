//! A panic anywhere gives a report and exit code 70. A variable of the environment makes the
//! program panic.

use crate::home::{Home, Ran};

fn panicking(home: &Home, place: &str, arguments: &str, backtrace: bool) -> Ran {
    let mut command = home.command(arguments);
    command.env("DELTAFOLD_PANIC", place).env_remove("RUST_LIB_BACKTRACE");
    command.env("RUST_BACKTRACE", if backtrace { "1" } else { "0" });
    Ran::of(command.output().expect("the program starts"))
}

/// Story: a panic of the SDK ended with exit code 101 and a Rust message. A panic in a task could
/// have gone unseen.
#[test]
fn a_panic_anywhere_is_a_report_and_exit_code_70() {
    let home = Home::new();
    for place in ["main", "task", "blocking", "thread"] {
        let ran = panicking(&home, place, "status", false).ends_with(70);
        let planted = format!("planted in {place}");
        for text in [&planted, "src/crash.rs:", env!("CARGO_PKG_VERSION"), "Please report"] {
            assert!(ran.stderr.contains(text), "{place}: `{text}` is not in {ran:#?}");
        }
        assert_eq!(ran.stderr.matches("panicked").count(), 1, "{place}: {ran:#?}");
        assert!(!ran.stderr.contains("planted::"), "a backtrace without RUST_BACKTRACE: {ran:#?}");
    }
}

#[test]
fn a_panic_shows_a_backtrace_where_it_is_asked_for() {
    let ran = panicking(&Home::new(), "main", "status", true).ends_with(70);
    assert!(ran.stderr.contains("crash::planted"), "{ran:#?}");
}

#[test]
fn a_panic_is_one_json_document_with_json() {
    let error = panicking(&Home::new(), "task", "--json status", false).ends_with(70).json_error();
    assert_eq!(error["kind"], "panic");
    assert_eq!(error["panic"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(error["panic"]["place"].as_str().expect("a place").contains("src/crash.rs:"), "{error}");
    assert!(error["message"].as_str().expect("a message").contains("planted in task"), "{error}");
}

/// The runtime panics where the system refuses another thread, as under a small `ulimit -v`. That
/// is not a defect.
#[test]
fn a_lack_of_threads_is_out_of_memory() {
    let ran = panicking(&Home::new(), "threads", "status", false).ends_with(71);
    assert!(ran.stderr.contains("no further thread") && ran.stderr.contains("ulimit"), "{ran:#?}");
    let error = panicking(&Home::new(), "threads", "--json status", false).ends_with(71).json_error();
    assert_eq!(error["kind"], "out_of_memory");
}
