//! A compiled filter, and its evaluation on records.

use deltafold_format::{Metadata, Record, Value};
use memchr::memmem::Finder;
use regex::Regex;

use super::ast::{Condition, DocumentCondition, Filter};
use super::check::{DOCUMENT, compile};
use super::error::{FilterError, Path};
use super::scalars::{Scalars, Side};

/// A checked and compiled filter, to evaluate on many records.
///
/// Evaluation takes no more memory than the filter. It takes time in proportion to the filter and
/// to the values that it reads.
#[derive(Debug, Clone)]
pub struct Matcher {
    pub(super) root: Node,
}

/// A filter in few forms. Negative conditions are negations of positive ones, so they match records
/// without the key.
#[derive(Debug, Clone)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Key { key: String, test: Test },
    Document(DocumentTest),
}

/// A test of a key's value. It fails without a value.
#[derive(Debug, Clone)]
pub(super) enum Test {
    /// It is one of these scalars.
    Scalar(Scalars),
    /// It is a list that holds one of these scalars.
    Element(Scalars),
    /// It is present.
    Exists,
}

/// A test of the document.
#[derive(Debug, Clone)]
pub(super) enum DocumentTest {
    /// It is present.
    Exists,
    /// It holds this text.
    Contains(Box<Finder<'static>>),
    /// The expression matches somewhere in it.
    Matches(Regex),
    /// No test: every record passes.
    Nothing,
}

impl Filter {
    /// Compiles the filter for evaluation.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check).
    pub fn matcher(&self) -> Result<Matcher, FilterError> {
        self.check()?;
        Ok(Matcher { root: node(self, &Path::Root)? })
    }
}

impl Matcher {
    /// Whether a record matches.
    pub fn matches<E>(&self, record: &Record<E>) -> bool {
        self.matches_parts(&record.metadata, record.document.as_deref())
    }

    /// Whether a record with this metadata and document matches.
    pub fn matches_parts(&self, metadata: &Metadata, document: Option<&str>) -> bool {
        self.root.matches(metadata, document)
    }

    /// The metadata keys that it reads, ascending.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys = Vec::new();
        self.root.visit(&mut |node| {
            if let Node::Key { key, .. } = node {
                keys.push(key.as_str());
            }
        });
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Whether it reads the text of documents.
    pub fn reads_documents(&self) -> bool {
        let mut reads = false;
        self.root.visit(&mut |node| {
            reads |= matches!(node, Node::Document(DocumentTest::Contains(_) | DocumentTest::Matches(_)));
        });
        reads
    }
}

impl Node {
    fn matches(&self, metadata: &Metadata, document: Option<&str>) -> bool {
        match self {
            Self::All(list) => list.iter().all(|node| node.matches(metadata, document)),
            Self::Any(list) => list.iter().any(|node| node.matches(metadata, document)),
            Self::Not(inner) => !inner.matches(metadata, document),
            Self::Key { key, test } => metadata.get(key).is_some_and(|value| test.holds(value)),
            Self::Document(test) => test.holds(document),
        }
    }

    fn visit<'a>(&'a self, look: &mut impl FnMut(&'a Self)) {
        look(self);
        match self {
            Self::All(list) | Self::Any(list) => list.iter().for_each(|node| node.visit(&mut *look)),
            Self::Not(inner) => inner.visit(look),
            Self::Key { .. } | Self::Document(_) => {}
        }
    }
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Exists => true,
            Self::Scalar(scalars) => match value {
                Value::String(value) => scalars.strings.holds(value.as_bytes()),
                Value::I64(value) => scalars.i64s.holds(*value),
                Value::F64(value) => scalars.f64s.holds(*value),
                Value::Bool(value) => scalars.bool_holds(*value),
                Value::Strings(_) | Value::I64s(_) | Value::F64s(_) | Value::Bools(_) => false,
            },
            Self::Element(scalars) => match value {
                Value::Strings(list) => list.iter().any(|value| scalars.strings.holds(value.as_bytes())),
                Value::I64s(list) => list.iter().any(|value| scalars.i64s.holds(*value)),
                Value::F64s(list) => list.iter().any(|value| scalars.f64s.holds(*value)),
                Value::Bools(list) => list.iter().any(|value| scalars.bool_holds(*value)),
                Value::String(_) | Value::I64(_) | Value::F64(_) | Value::Bool(_) => false,
            },
        }
    }
}

impl DocumentTest {
    pub(super) fn holds(&self, document: Option<&str>) -> bool {
        match self {
            Self::Nothing => true,
            Self::Exists => document.is_some(),
            Self::Contains(text) => document.is_some_and(|document| text.find(document.as_bytes()).is_some()),
            Self::Matches(pattern) => document.is_some_and(|document| pattern.is_match(document)),
        }
    }
}

fn node(filter: &Filter, at: &Path<'_>) -> Result<Node, FilterError> {
    Ok(match filter {
        Filter::And(list) => Node::All(nodes(list, &at.key("$and"))?),
        Filter::Or(list) => Node::Any(nodes(list, &at.key("$or"))?),
        Filter::Not(inner) => negated(node(inner, &at.key("$not"))?),
        Filter::Metadata { key, condition } => {
            let (test, positive) = test(condition);
            let node = Node::Key { key: key.clone(), test };
            if positive { node } else { negated(node) }
        }
        Filter::Document(condition) => document(condition, &at.key(DOCUMENT))?,
    })
}

fn nodes(list: &[Filter], at: &Path<'_>) -> Result<Vec<Node>, FilterError> {
    list.iter().enumerate().map(|(index, filter)| node(filter, &at.index(index))).collect()
}

fn negated(node: Node) -> Node {
    match node {
        Node::Not(inner) => *inner,
        node => Node::Not(Box::new(node)),
    }
}

/// The test of a condition, and whether the test must hold or fail.
fn test(condition: &Condition) -> (Test, bool) {
    let beside = |side, operand| (Test::Scalar(Scalars::beside(side, operand)), true);
    match condition {
        Condition::Equals(operand) => (Test::Scalar(Scalars::one(operand)), true),
        Condition::NotEquals(operand) => (Test::Scalar(Scalars::one(operand)), false),
        Condition::Greater(operand) => beside(Side::Greater, operand),
        Condition::GreaterOrEqual(operand) => beside(Side::GreaterOrEqual, operand),
        Condition::Less(operand) => beside(Side::Less, operand),
        Condition::LessOrEqual(operand) => beside(Side::LessOrEqual, operand),
        Condition::In(operands) => (Test::Scalar(Scalars::listed(operands)), true),
        Condition::NotIn(operands) => (Test::Scalar(Scalars::listed(operands)), false),
        Condition::Contains(operand) => (Test::Element(Scalars::one(operand)), true),
        Condition::NotContains(operand) => (Test::Element(Scalars::one(operand)), false),
        Condition::StartsWith(prefix) => (Test::Scalar(Scalars::prefix(prefix)), true),
        Condition::Exists(exists) => (Test::Exists, *exists),
    }
}

fn document(condition: &DocumentCondition, at: &Path<'_>) -> Result<Node, FilterError> {
    let contains = |text: &str| match text {
        "" => DocumentTest::Nothing,
        text => DocumentTest::Contains(Box::new(Finder::new(text).into_owned())),
    };
    let (test, positive) = match condition {
        DocumentCondition::Contains(text) => (contains(text), true),
        DocumentCondition::NotContains(text) => (contains(text), false),
        DocumentCondition::Regex(pattern) => (DocumentTest::Matches(compile(pattern, &at.key("$regex"))?), true),
        DocumentCondition::NotRegex(pattern) => {
            (DocumentTest::Matches(compile(pattern, &at.key("$not_regex"))?), false)
        }
        DocumentCondition::Exists(exists) => (DocumentTest::Exists, *exists),
    };
    let node = Node::Document(test);
    Ok(if positive { node } else { negated(node) })
}
