//! Errors of the recent past, for people.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use deltafold_format::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::tokens::Scope;
use crate::env::{Env as _, System};

/// Incidents kept.
const KEPT: usize = 100;
/// Longest sentence of an incident, in characters.
const LONGEST: usize = 400;

/// The database that a request names, as far as it names one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DatabasePath {
    pub(super) tenant: Option<String>,
    pub(super) database: Option<String>,
}

/// A refused or failed call, or work of the server that failed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Incident {
    /// Milliseconds since 1970, by the server's clock.
    at: i64,
    /// The call as method and route, or the work.
    what: String,
    /// The status of the answer; absent for work of the server itself.
    status: Option<u16>,
    /// The name of the error.
    error: String,
    /// The reason and the remedy.
    message: String,
    /// The id of the request, as in the log.
    request: Option<String>,
    /// The tenant that the call named.
    tenant: Option<String>,
    /// The database that the call named.
    database: Option<String>,
}

/// The newest incidents.
#[derive(Debug, Default)]
pub(super) struct Incidents(Mutex<VecDeque<Incident>>);

/// The answer of a refused call, from which an incident is made.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) name: &'static str,
    pub(super) message: String,
}

impl Incidents {
    /// Adds a call that was answered with an error.
    pub(super) fn call(&self, what: String, status: u16, request: &str, refused: Refused, place: DatabasePath) {
        self.add(Incident {
            at: now(),
            what,
            status: Some(status),
            error: refused.name.to_owned(),
            message: refused.message,
            request: Some(request.to_owned()),
            tenant: place.tenant,
            database: place.database,
        });
    }

    /// Adds a failure of work that no client waits for. Its reason may name internals, so it is in
    /// the log alone.
    pub(super) fn work(&self, what: &str, place: DatabasePath) {
        self.add(Incident {
            at: now(),
            what: what.to_owned(),
            status: None,
            error: "InternalError".to_owned(),
            message: "it will be tried again; the reason is in the server's log".to_owned(),
            request: None,
            tenant: place.tenant,
            database: place.database,
        });
    }

    fn add(&self, mut incident: Incident) {
        if let Some((end, _)) = incident.message.char_indices().nth(LONGEST) {
            incident.message.truncate(end);
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == KEPT {
            all.pop_back();
        }
        all.push_front(incident);
    }

    /// Those that a token of this scope may see, newest first.
    pub(super) fn seen_by(&self, scope: &Scope) -> Vec<Incident> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = |incident: &&Incident| scope.covers(incident.tenant.as_deref(), incident.database.as_deref());
        all.iter().filter(seen).cloned().collect()
    }
}

fn now() -> i64 {
    let now: Timestamp = System.now();
    now.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> Refused {
        Refused { name: "NotFoundError", message: message.to_owned() }
    }

    /// A tenant's token must not learn from errors which names other tenants use.
    #[test]
    fn a_limited_token_sees_incidents_of_its_tenant_alone() {
        let incidents = Incidents::default();
        for tenant in [Some("a"), Some("b"), None] {
            let place = DatabasePath { tenant: tenant.map(str::to_owned), database: None };
            incidents.call("GET /".to_owned(), 404, "1", refused("no"), place);
        }
        let scope = Scope { tenant: Some("a".to_owned()), ..Scope::default() };
        let seen: Vec<_> = incidents.seen_by(&scope).into_iter().map(|incident| incident.tenant).collect();
        assert_eq!(seen, [Some("a".to_owned())]);
        assert_eq!(incidents.seen_by(&Scope::default()).len(), 3);
    }

    #[test]
    fn the_oldest_incidents_and_long_ends_are_dropped() {
        let incidents = Incidents::default();
        for n in 0..KEPT + 5 {
            incidents.call(n.to_string(), 404, "1", refused(&"ü".repeat(1_000)), DatabasePath::default());
        }
        let all = incidents.seen_by(&Scope::default());
        assert_eq!(all.len(), KEPT);
        assert_eq!(all[0].what, (KEPT + 4).to_string());
        assert_eq!(all[0].message.chars().count(), LONGEST);
    }
}
