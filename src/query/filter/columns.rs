//! Evaluates filters on the columns of a part, without composing a record.
//!
//! Conditions on metadata read only their own columns. `$and` begins with the condition that rules
//! out most rows for the least work, and ends when no row is left. Documents are read last, and
//! only those of rows that are still open.

use std::borrow::Cow;

use deltafold_format::{Elements, FormatError, MetadataColumn, PartMeta, PresentRows};

use super::matcher::{DocumentTest, Matcher, Node, Test};
use super::row_set::{RowSet, bits};
use super::scalars::Scalars;

type Result<T> = std::result::Result<T, FormatError>;

/// The columns of a part that a filter reads.
///
/// Each row must hold its whole record, or be excluded from the rows to evaluate. Columns and
/// documents that are not loaded are an error, never an empty answer.
pub trait PartColumns {
    /// Number of rows of the part.
    fn rows(&self) -> usize;

    /// The columns of a metadata key, one a type.
    ///
    /// # Errors
    ///
    /// `NotLoaded` if one of them is not loaded.
    fn metadata(&self, key: &str) -> Result<Vec<MetadataColumn<'_>>>;

    /// The rows with a document.
    fn document_rows(&self) -> PresentRows<'_>;
}

/// The documents of a part.
pub trait PartDocuments {
    /// The document of a row, if it has one.
    ///
    /// # Errors
    ///
    /// `NotLoaded` if it is not loaded.
    fn document(&self, row: usize) -> Result<Option<&str>>;
}

impl PartColumns for PartMeta {
    fn rows(&self) -> usize {
        self.rows()
    }

    fn metadata(&self, key: &str) -> Result<Vec<MetadataColumn<'_>>> {
        self.metadata_columns(key)
    }

    fn document_rows(&self) -> PresentRows<'_> {
        self.document_rows()
    }
}

impl PartDocuments for PartMeta {
    fn document(&self, row: usize) -> Result<Option<&str>> {
        self.document_of(row)
    }
}

/// The rows that a filter matches, as far as its columns tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decided {
    /// Rows that match.
    pub matching: RowSet,
    /// Rows for which the text of the document decides. None of them is in `matching`.
    pub open: RowSet,
}

/// Work of looking up one row's value, in numbers of a scan.
const LOOKUP: usize = 16;
/// Work of reading a document, in numbers of a scan.
const DOCUMENT_WORK: usize = 1_000;
/// Work of matching an expression, in numbers of a scan.
const PATTERN_WORK: usize = 5_000;

impl Matcher {
    /// The rows of `within` that match.
    ///
    /// To bound the time of a call, pass some of the rows at a time.
    ///
    /// # Errors
    ///
    /// Those of the part: a column or a document that the filter reads is not loaded.
    pub fn select(&self, part: &(impl PartColumns + PartDocuments), within: &RowSet) -> Result<RowSet> {
        Ok(Evaluation { columns: part, documents: Some(part) }.node(&self.root, within)?.matching)
    }

    /// The rows of `within` that match regardless of documents, and those for which the document
    /// decides. For a caller that has the columns in memory, but not the documents.
    ///
    /// # Errors
    ///
    /// Those of the part: a column that the filter reads is not loaded.
    pub fn select_by_columns(&self, columns: &impl PartColumns, within: &RowSet) -> Result<Decided> {
        Evaluation { columns, documents: None }.node(&self.root, within)
    }
}

/// Work of comparing a text, in numbers of a scan.
const TEXT_WORK: usize = 10;

/// Work of scanning a column.
fn scan_work(column: &MetadataColumn<'_>) -> usize {
    match column.elements() {
        Elements::Strings(texts) => texts.len() * TEXT_WORK,
        elements => elements.len(),
    }
}

struct Evaluation<'a> {
    columns: &'a dyn PartColumns,
    documents: Option<&'a dyn PartDocuments>,
}

/// The expected cost and result of evaluating a node.
#[derive(Clone, Copy)]
struct Estimate {
    /// In numbers of a scan, for all rows.
    work: usize,
    /// Rows that match.
    matches: usize,
}

impl Evaluation<'_> {
    fn node(&self, node: &Node, within: &RowSet) -> Result<Decided> {
        match node {
            Node::All(list) => self.all(list, within),
            Node::Any(list) => self.any(list, within),
            Node::Not(inner) => {
                let Decided { matching, open } = self.node(inner, within)?;
                let mut rest = within.clone();
                rest.remove(&matching);
                rest.remove(&open);
                Ok(Decided { matching: rest, open })
            }
            Node::Key { key, test } => Ok(self.decided(self.key(key, test, within)?)),
            Node::Document(test) => self.document(test, within),
        }
    }

    fn decided(&self, matching: RowSet) -> Decided {
        Decided { open: RowSet::none(matching.part_rows()), matching }
    }

    fn all(&self, list: &[Node], within: &RowSet) -> Result<Decided> {
        // Rows that no condition has ruled out, and those of them that a condition left open.
        let (mut left, mut open) = (Cow::Borrowed(within), RowSet::none(within.part_rows()));
        for node in self.cheapest_first(list, |rows, estimate| rows - estimate.matches)? {
            if left.is_empty() {
                break;
            }
            let found = self.node(node, &left)?;
            open.extend(&found.open);
            let mut kept = found.matching;
            kept.extend(&found.open);
            left = Cow::Owned(kept);
        }
        let mut matching = left.into_owned();
        open.retain(&matching);
        matching.remove(&open);
        Ok(Decided { matching, open })
    }

    fn any(&self, list: &[Node], within: &RowSet) -> Result<Decided> {
        // Rows that no condition has matched yet.
        let (mut left, mut open) = (within.clone(), RowSet::none(within.part_rows()));
        let mut matching = open.clone();
        for node in self.cheapest_first(list, |_, estimate| estimate.matches)? {
            if left.is_empty() {
                break;
            }
            let found = self.node(node, &left)?;
            left.remove(&found.matching);
            matching.extend(&found.matching);
            open.extend(&found.open);
        }
        open.remove(&matching);
        Ok(Decided { matching, open })
    }

    /// The nodes, ascending by their work for each row that they decide.
    fn cheapest_first<'n>(
        &self,
        list: &'n [Node],
        decided: impl Fn(usize, Estimate) -> usize,
    ) -> Result<Vec<&'n Node>> {
        let rows = self.columns.rows();
        let mut order: Vec<(f64, &Node)> = Vec::with_capacity(list.len());
        for node in list {
            let estimate = self.estimate(node)?;
            order.push((estimate.work as f64 / (decided(rows, estimate) as f64 + 0.5), node));
        }
        order.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        Ok(order.into_iter().map(|(_, node)| node).collect())
    }

    fn estimate(&self, node: &Node) -> Result<Estimate> {
        let rows = self.columns.rows();
        Ok(match node {
            Node::All(list) => {
                let mut all = Estimate { work: 0, matches: rows };
                for node in list {
                    let one = self.estimate(node)?;
                    all = Estimate { work: all.work + one.work, matches: all.matches.min(one.matches) };
                }
                all
            }
            Node::Any(list) => {
                let mut any = Estimate { work: 0, matches: 0 };
                for node in list {
                    let one = self.estimate(node)?;
                    any = Estimate { work: any.work + one.work, matches: rows.min(any.matches + one.matches) };
                }
                any
            }
            Node::Not(inner) => {
                let inner = self.estimate(inner)?;
                Estimate { matches: rows - inner.matches, ..inner }
            }
            Node::Key { key, test } => {
                let columns = self.columns.metadata(key)?;
                let columns = columns.iter().filter(|column| looks_at(test, column));
                let none = Estimate { work: 1, matches: 0 };
                let sum = columns.fold(none, |sum, column| {
                    let present = column.rows().count().min(rows);
                    // Guesses: columns tell only the number of rows with the key.
                    let (work, matches) = match test {
                        Test::Exists => (present / 64, present),
                        Test::Scalar(_) | Test::Element(_) => (scan_work(column), present / 4),
                    };
                    Estimate { work: sum.work + work, matches: sum.matches + matches }
                });
                Estimate { matches: sum.matches.min(rows), ..sum }
            }
            Node::Document(test) => {
                let documents = self.columns.document_rows().count().min(rows);
                match test {
                    DocumentTest::Nothing => Estimate { work: 0, matches: rows },
                    DocumentTest::Exists => Estimate { work: documents / 64, matches: documents },
                    DocumentTest::Contains(_) => Estimate { work: documents * DOCUMENT_WORK, matches: documents / 4 },
                    DocumentTest::Matches(_) => Estimate { work: documents * PATTERN_WORK, matches: documents / 4 },
                }
            }
        })
    }

    fn key(&self, key: &str, test: &Test, within: &RowSet) -> Result<RowSet> {
        let mut found = RowSet::none(within.part_rows());
        let candidates = within.count();
        for column in self.columns.metadata(key)?.into_iter().filter(|column| looks_at(test, column)) {
            let rows = column.rows();
            if candidates * LOOKUP < scan_work(&column) {
                let held = |row: &usize| rows.rank(*row).is_some_and(|rank| holds(test, &column, rank));
                within.iter().filter(held).for_each(|row| found.insert(row));
            } else {
                found.extend(&spread(&rows, &scan(test, &column), within));
            }
        }
        Ok(found)
    }

    fn document(&self, test: &DocumentTest, within: &RowSet) -> Result<Decided> {
        if matches!(test, DocumentTest::Nothing) {
            return Ok(self.decided(within.clone()));
        }
        let present = self.columns.document_rows();
        let with_document = spread(&present, &vec![u64::MAX; present.count().div_ceil(64)], within);
        Ok(match (test, self.documents) {
            (DocumentTest::Exists, _) => self.decided(with_document),
            (_, None) => Decided { matching: RowSet::none(within.part_rows()), open: with_document },
            (test, Some(documents)) => {
                let mut found = RowSet::none(within.part_rows());
                for row in with_document.iter() {
                    if test.holds(documents.document(row)?) {
                        found.insert(row);
                    }
                }
                self.decided(found)
            }
        })
    }
}

/// The rows of `within` whose value is chosen.
fn spread(rows: &PresentRows<'_>, ranks: &[u64], within: &RowSet) -> RowSet {
    let mut words = vec![0; within.words().len()];
    rows.spread(ranks, &mut words);
    let mut found = RowSet::from_words(words, within.part_rows());
    found.retain(within);
    found
}

/// Whether some value of a column's type can pass a test.
fn looks_at(test: &Test, column: &MetadataColumn<'_>) -> bool {
    let accepts = |scalars: &Scalars| match column.elements() {
        Elements::Strings(_) => !scalars.strings.is_none(),
        Elements::I64s(_) => !scalars.i64s.is_none(),
        Elements::F64s(_) => !scalars.f64s.is_none(),
        Elements::Bools(_) => scalars.bools != [false; 2],
        _ => false,
    };
    match test {
        Test::Exists => true,
        Test::Scalar(scalars) => column.lists().is_none() && accepts(scalars),
        Test::Element(scalars) => column.lists().is_some() && accepts(scalars),
    }
}

/// Whether a value passes a test that looks at its column.
fn holds(test: &Test, column: &MetadataColumn<'_>, rank: usize) -> bool {
    let scalars = match test {
        Test::Exists => return true,
        Test::Scalar(scalars) | Test::Element(scalars) => scalars,
    };
    let mut elements = column.lists().map_or(rank..rank + 1, |lists| lists.elements_of(rank));
    match column.elements() {
        Elements::Strings(texts) => elements.any(|i| scalars.strings.holds(texts.bytes_of(i))),
        Elements::I64s(numbers) => elements.any(|i| numbers.get(i).is_some_and(|value| scalars.i64s.holds(value))),
        Elements::F64s(numbers) => elements.any(|i| numbers.get(i).is_some_and(|value| scalars.f64s.holds(value))),
        Elements::Bools(bools) => elements.any(|i| bools.get(i).is_some_and(|value| scalars.bool_holds(*value != 0))),
        _ => false,
    }
}

/// The values of a column that pass a test of the column's type, a bit each.
fn scan(test: &Test, column: &MetadataColumn<'_>) -> Vec<u64> {
    let scalars = match test {
        Test::Exists => return vec![u64::MAX; column.rows().count().div_ceil(64)],
        Test::Scalar(scalars) | Test::Element(scalars) => scalars,
    };
    let passed = match column.elements() {
        Elements::Strings(texts) => bits((0..texts.len()).map(|i| scalars.strings.holds(texts.bytes_of(i)))),
        Elements::I64s(numbers) => scalars.i64s.bits(numbers.iter()),
        Elements::F64s(numbers) => scalars.f64s.bits(numbers.iter()),
        Elements::Bools(bools) => bits(bools.iter().map(|value| scalars.bool_holds(*value != 0))),
        _ => Vec::new(),
    };
    match column.lists() {
        None => passed,
        Some(lists) => {
            let passed = |i: usize| passed.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1);
            bits((0..lists.len()).map(|list| lists.elements_of(list).any(passed)))
        }
    }
}
