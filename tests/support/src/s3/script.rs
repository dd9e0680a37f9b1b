//! The script of a server: which requests fail, how, and what happens just before one.

use std::time::Duration;

use super::Backend;
use super::line::Line;
use crate::random::Random;

/// The fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Applied; the connection breaks before the answer.
    LoseAnswer,
    /// The connection breaks before anything happens.
    LoseRequest,
    /// The connection breaks at once, and the request is applied after this time.
    Late(Duration),
    /// Not applied, and answered with this.
    Answer(u16, &'static str),
    /// Not applied, and answered with a page for people and 200, as a layer in between may do.
    Page,
    /// Applied, and still answered with this.
    AnswerAfter(u16, &'static str),
    /// Applied twice, as by a layer in between that tries again. The second answer is sent.
    Echo,
    /// The body of the answer breaks off in the middle.
    BreakBody,
    /// A byte of the answer's body is changed.
    FlipBody,
    /// The body of the answer comes byte by byte.
    Trickle,
    /// A byte of the request's body is changed.
    DamageRequest,
    /// Answered after this time.
    Slow(Duration),
}

/// The requests that fail, and how often.
pub(super) struct Rule {
    pub(super) verb: &'static str,
    pub(super) path: String,
    pub(super) fault: Fault,
    pub(super) times: usize,
}

/// An action just before a request.
pub(super) struct Hook {
    pub(super) verb: &'static str,
    pub(super) path: String,
    /// The number of matching requests to let pass first.
    pub(super) after: usize,
    pub(super) act: Box<dyn FnOnce(&Backend) + Send>,
}

/// Rates, in requests of a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    pub lost_answers: u64,
    pub server_errors: u64,
    pub conflicts: u64,
}

#[derive(Default)]
pub(super) struct Script {
    pub(super) rules: Vec<Rule>,
    pub(super) hooks: Vec<Hook>,
    /// The number of requests before the one that fails, and its fault.
    pub(super) nth: Option<(usize, Fault)>,
    pub(super) random: Option<(Random, Rates)>,
    pub(super) latency: Duration,
    /// The lines for requests and for answers.
    pub(super) lines: Option<(Line, Line)>,
    pub(super) calls: Vec<String>,
    /// The bodies of requests to services that name their action in a header, each with its action.
    pub(super) actions: Vec<(&'static str, serde_json::Value)>,
}

impl Script {
    /// The action just before this request.
    pub(super) fn hook(&mut self, verb: &'static str, path: &str) -> Option<Hook> {
        let at = self.hooks.iter().position(|hook| hook.verb == verb && path.contains(&hook.path))?;
        match self.hooks.get_mut(at)?.after {
            0 => Some(self.hooks.remove(at)),
            ref mut after => {
                *after -= 1;
                None
            }
        }
    }

    /// The fault of this request.
    pub(super) fn next(&mut self, verb: &'static str, path: &str) -> Option<Fault> {
        self.calls.push(format!("{verb} {path}"));
        match self.nth {
            Some((0, fault)) => {
                self.nth = None;
                return Some(fault);
            }
            Some((number, fault)) => self.nth = Some((number - 1, fault)),
            None => {}
        }
        if let Some(at) = self.rules.iter().position(|rule| rule.verb == verb && path.contains(&rule.path)) {
            let rule = self.rules.get_mut(at).unwrap();
            let fault = rule.fault;
            if rule.times != usize::MAX {
                rule.times -= 1;
            }
            if rule.times == 0 {
                self.rules.remove(at);
            }
            return Some(fault);
        }
        let (random, rates) = self.random.as_mut()?;
        let writes = matches!(verb, "create" | "replace" | "upload_complete");
        let drawn = random.below(1_000);
        let lost = rates.lost_answers;
        let errors = lost + rates.server_errors;
        match drawn {
            drawn if drawn < lost => Some(Fault::LoseAnswer),
            drawn if drawn < errors => Some(match random.below(3) {
                0 => Fault::Answer(503, "SlowDown"),
                1 => Fault::Answer(500, "InternalError"),
                _ => Fault::AnswerAfter(500, "InternalError"),
            }),
            drawn if drawn < errors + rates.conflicts && writes => {
                Some(Fault::Answer(409, "ConditionalRequestConflict"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verb: &'static str, path: &str, times: usize) -> Rule {
        Rule { verb, path: path.to_owned(), fault: Fault::LoseAnswer, times }
    }

    /// Whether each of these requests fails.
    fn fails(script: &mut Script, requests: &[(&'static str, &str)]) -> Vec<bool> {
        requests.iter().map(|(verb, path)| script.next(verb, path).is_some()).collect()
    }

    #[test]
    fn a_rule_fails_its_requests_as_often_as_told() {
        let mut script = Script { rules: vec![rule("get", "head", 2)], ..Script::default() };
        let requests = [("create", "/b/head"), ("get", "/b/log"), ("get", "/b/head"), ("get", "/b/head")];
        assert_eq!(fails(&mut script, &requests), [false, false, true, true]);
        assert!(script.rules.is_empty());
        assert_eq!(fails(&mut script, &[("get", "/b/head")]), [false]);
        assert_eq!(script.calls.len(), 5);
        let mut script = Script { rules: vec![rule("get", "", usize::MAX)], ..Script::default() };
        assert_eq!(fails(&mut script, &[("get", "/b/x"); 50]), [true; 50]);
    }

    #[test]
    fn the_nth_request_fails_alone() {
        let mut script = Script { nth: Some((2, Fault::Echo)), ..Script::default() };
        assert_eq!(fails(&mut script, &[("get", "/b/x"); 5]), [false, false, true, false, false]);
    }

    #[test]
    fn a_hook_waits_for_the_requests_before_it() {
        let hook = Hook { verb: "get", path: "head".to_owned(), after: 2, act: Box::new(|_| ()) };
        let mut script = Script { hooks: vec![hook], ..Script::default() };
        assert!(script.hook("get", "/b/log").is_none(), "another path does not count");
        let found: Vec<bool> = (0..4).map(|_| script.hook("get", "/b/head").is_some()).collect();
        assert_eq!(found, [false, false, true, false]);
    }

    /// Conflicts come to writes alone: no read is answered 409.
    #[test]
    fn random_faults_keep_their_rates_and_repeat() {
        let run = |rates| {
            let mut script = Script { random: Some((Random::new(7), rates)), ..Script::default() };
            let mut faults = [Vec::new(), Vec::new()];
            for number in 0..4_000 {
                let verb = ["create", "get"][number % 2];
                faults[number % 2].push(script.next(verb, "/b/x"));
            }
            faults
        };
        let rates = Rates { lost_answers: 100, server_errors: 100, conflicts: 100 };
        let [writes, reads] = run(rates);
        assert_eq!([writes.clone(), reads.clone()], run(rates));
        let count =
            |faults: &[Option<Fault>], is: fn(&Fault) -> bool| faults.iter().flatten().filter(|f| is(f)).count();
        for faults in [&writes, &reads] {
            assert!((120..280).contains(&count(faults, |fault| *fault == Fault::LoseAnswer)));
            assert!((120..280).contains(&count(faults, |fault| {
                matches!(fault, Fault::Answer(500 | 503, _) | Fault::AnswerAfter(500, _))
            })));
        }
        assert!((120..280).contains(&count(&writes, |fault| matches!(fault, Fault::Answer(409, _)))));
        assert_eq!(count(&reads, |fault| matches!(fault, Fault::Answer(409, _))), 0);
    }
}
