//! The variables of the environment, and the mistakes in them.

use std::fmt::Display;

/// The variables of the environment, and the mistakes found in them so far.
pub(super) struct Variables<F> {
    variable: F,
    wrong: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    pub(super) fn new(variable: F) -> Self {
        Self { variable, wrong: Vec::new() }
    }

    /// A variable; `None` if it is empty.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }

    /// Notes a mistake.
    pub(super) fn refuse(&mut self, mistake: impl Into<String>) {
        self.wrong.push(mistake.into());
    }

    /// The value of a result. A mistake is noted with the variable's name.
    pub(super) fn accept<T>(&mut self, name: &str, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|reason| self.refuse(format!("{name}: {reason}"))).ok()
    }

    /// A number of at least 1.
    pub(super) fn number(&mut self, name: &str, default: u32) -> u32 {
        let Some(text) = self.get(name) else { return default };
        text.trim().parse().ok().filter(|number| *number > 0).unwrap_or_else(|| {
            self.refuse(format!("{name} is `{text}`, which is not a number from 1 to {}", u32::MAX));
            default
        })
    }

    /// All mistakes; `None` if there are none.
    pub(super) fn mistakes(&self) -> Option<String> {
        (!self.wrong.is_empty()).then(|| self.wrong.join(". "))
    }
}
