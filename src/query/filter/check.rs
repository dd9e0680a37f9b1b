//! The limits of a filter. They bound the time and memory of its evaluation, even for untrusted
//! filters.

use deltafold_format::limits::MAX_KEY_BYTES;
use regex::{Regex, RegexBuilder};

use super::ast::{Condition, DocumentCondition, Filter, Scalar};
use super::error::{FilterError, Path, shown};

/// Most bytes of a compiled expression. Matching takes time in proportion to this and to the
/// document.
const PATTERN_MEMORY: usize = 1 << 20;
/// Deepest nesting within an expression.
const PATTERN_DEPTH: u32 = 64;

/// The key of the document.
pub(super) const DOCUMENT: &str = "#document";

impl Filter {
    /// The deepest nesting of `$and`, `$or` and `$not`.
    pub const MAX_DEPTH: usize = 32;
    /// Most clauses of a filter, at all depths together.
    pub const MAX_CLAUSES: usize = 4_096;
    /// Most values in the lists of `$in` and `$nin` of a filter together.
    pub const MAX_LISTED: usize = 65_536;
    /// Most bytes of all keys, strings and expressions of a filter together.
    pub const MAX_TEXT_BYTES: usize = 4 << 20;
    /// Most regular expressions of a filter.
    pub const MAX_PATTERNS: usize = 16;
    /// Longest regular expression, in bytes.
    pub const MAX_PATTERN_BYTES: usize = 4_096;

    /// Checks that the filter is valid: it is within the limits, no list is empty, numbers are
    /// finite, and expressions compile.
    ///
    /// # Errors
    ///
    /// The first fault, with its place in the JSON form.
    pub fn check(&self) -> Result<(), FilterError> {
        Counts::default().filter(self, &Path::Root, 0)
    }
}

/// The counts of a filter so far.
#[derive(Default)]
struct Counts {
    nodes: usize,
    listed: usize,
    text: usize,
    patterns: usize,
}

impl Counts {
    fn filter(&mut self, filter: &Filter, at: &Path<'_>, depth: usize) -> Result<(), FilterError> {
        at_most(at, depth, Filter::MAX_DEPTH, "levels of nesting", "flatten it")?;
        self.nodes += 1;
        at_most(
            at,
            self.nodes,
            Filter::MAX_CLAUSES,
            "clauses",
            "use `$in` for many values of one key, or ask several times",
        )?;
        match filter {
            Filter::And(list) => self.list(list, &at.key("$and"), depth),
            Filter::Or(list) => self.list(list, &at.key("$or"), depth),
            Filter::Not(inner) => self.filter(inner, &at.key("$not"), depth + 1),
            Filter::Metadata { key, condition } => self.metadata(key, condition, at),
            Filter::Document(condition) => self.document(condition, &at.key(DOCUMENT)),
        }
    }

    fn list(&mut self, list: &[Filter], at: &Path<'_>, depth: usize) -> Result<(), FilterError> {
        if list.is_empty() {
            return Err(FilterError::new(at, "the list is empty; name at least one clause"));
        }
        for (index, filter) in list.iter().enumerate() {
            self.filter(filter, &at.index(index), depth + 1)?;
        }
        Ok(())
    }

    fn metadata(&mut self, key: &str, condition: &Condition, at: &Path<'_>) -> Result<(), FilterError> {
        let at = &at.key(key);
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            let reason = format!("a key has 1 to {MAX_KEY_BYTES} bytes, this one has {}; correct the key", key.len());
            return Err(FilterError::new(at, reason));
        }
        if key.starts_with('$') || key == DOCUMENT {
            return Err(FilterError::new(at, "metadata under this key cannot be filtered; store it under another key"));
        }
        self.text(key, at)?;
        let at = &at.key(name(condition));
        match condition {
            Condition::Equals(scalar)
            | Condition::NotEquals(scalar)
            | Condition::Contains(scalar)
            | Condition::NotContains(scalar) => self.scalar(scalar, at),
            Condition::Greater(scalar)
            | Condition::GreaterOrEqual(scalar)
            | Condition::Less(scalar)
            | Condition::LessOrEqual(scalar) => match scalar {
                Scalar::Bool(_) => Err(FilterError::new(at, "booleans have no order; compare with `$eq` or `$ne`")),
                scalar => self.scalar(scalar, at),
            },
            Condition::In(scalars) | Condition::NotIn(scalars) => self.scalars(scalars, at),
            Condition::StartsWith(prefix) => self.text(prefix, at),
            Condition::Exists(_) => Ok(()),
        }
    }

    fn document(&mut self, condition: &DocumentCondition, at: &Path<'_>) -> Result<(), FilterError> {
        match condition {
            DocumentCondition::Contains(text) => self.text(text, &at.key("$contains")),
            DocumentCondition::NotContains(text) => self.text(text, &at.key("$not_contains")),
            DocumentCondition::Regex(pattern) => self.pattern(pattern, &at.key("$regex")),
            DocumentCondition::NotRegex(pattern) => self.pattern(pattern, &at.key("$not_regex")),
            DocumentCondition::Exists(_) => Ok(()),
        }
    }

    fn pattern(&mut self, pattern: &str, at: &Path<'_>) -> Result<(), FilterError> {
        self.text(pattern, at)?;
        self.patterns += 1;
        at_most(at, self.patterns, Filter::MAX_PATTERNS, "regular expressions", "join some with `|`")?;
        compile(pattern, at).map(drop)
    }

    fn scalars(&mut self, scalars: &[Scalar], at: &Path<'_>) -> Result<(), FilterError> {
        let Some(first) = scalars.first() else {
            return Err(FilterError::new(at, "the list is empty; name at least one value"));
        };
        self.listed += scalars.len();
        at_most(at, self.listed, Filter::MAX_LISTED, "listed values", "ask several times")?;
        for (index, scalar) in scalars.iter().enumerate() {
            let at = &at.index(index);
            if sort(scalar) != sort(first) {
                let reason = format!(
                    "the list began with a {} and here is a {}; make a list for each type and join them with `$or`",
                    sort(first),
                    sort(scalar)
                );
                return Err(FilterError::new(at, reason));
            }
            self.scalar(scalar, at)?;
        }
        Ok(())
    }

    fn scalar(&mut self, scalar: &Scalar, at: &Path<'_>) -> Result<(), FilterError> {
        match scalar {
            Scalar::String(text) => self.text(text, at),
            Scalar::F64(number) if !number.is_finite() => {
                Err(FilterError::new(at, "the number is not finite, and no record holds such; give a finite one"))
            }
            _ => Ok(()),
        }
    }

    fn text(&mut self, text: &str, at: &Path<'_>) -> Result<(), FilterError> {
        self.text = self.text.saturating_add(text.len());
        at_most(at, self.text, Filter::MAX_TEXT_BYTES, "bytes of text", "shorten it")
    }
}

fn at_most(at: &Path<'_>, found: usize, limit: usize, of: &str, remedy: &str) -> Result<(), FilterError> {
    if found <= limit {
        return Ok(());
    }
    Err(FilterError::new(at, format!("the filter has more than {limit} {of}; {remedy}")))
}

/// The sorts of scalars that a list may not mix. Integers and floats are one.
fn sort(scalar: &Scalar) -> &'static str {
    match scalar {
        Scalar::String(_) => "string",
        Scalar::I64(_) | Scalar::F64(_) => "number",
        Scalar::Bool(_) => "boolean",
    }
}

/// The operator of a condition.
pub(super) fn name(condition: &Condition) -> &'static str {
    match condition {
        Condition::Equals(_) => "$eq",
        Condition::NotEquals(_) => "$ne",
        Condition::Greater(_) => "$gt",
        Condition::GreaterOrEqual(_) => "$gte",
        Condition::Less(_) => "$lt",
        Condition::LessOrEqual(_) => "$lte",
        Condition::In(_) => "$in",
        Condition::NotIn(_) => "$nin",
        Condition::Contains(_) => "$contains",
        Condition::NotContains(_) => "$not_contains",
        Condition::StartsWith(_) => "$startsWith",
        Condition::Exists(_) => "$exists",
    }
}

/// The compiled expression.
pub(super) fn compile(pattern: &str, at: &Path<'_>) -> Result<Regex, FilterError> {
    if pattern.len() > Filter::MAX_PATTERN_BYTES {
        let reason = format!(
            "the expression has {} bytes, the limit is {}; shorten it",
            pattern.len(),
            Filter::MAX_PATTERN_BYTES
        );
        return Err(FilterError::new(at, reason));
    }
    let compiled = RegexBuilder::new(pattern)
        .size_limit(PATTERN_MEMORY)
        .dfa_size_limit(PATTERN_MEMORY)
        .nest_limit(PATTERN_DEPTH)
        .build();
    compiled.map_err(|error| {
        let reason = match error {
            regex::Error::CompiledTooBig(limit) => format!(
                "the expression takes more than {limit} bytes compiled; use smaller counts in braces, or ASCII classes \
                 such as `[a-z]` in place of `\\w`"
            ),
            // The message draws the expression over several lines; the last one names the fault.
            error => {
                let text = error.to_string();
                let said = text.lines().last().unwrap_or_default();
                let said = said.trim().trim_start_matches("error: ");
                format!(
                    "`{}` is not a regular expression: {said}; the syntax is that of the crate `regex`",
                    shown(pattern)
                )
            }
        };
        FilterError::new(at, reason)
    })
}
