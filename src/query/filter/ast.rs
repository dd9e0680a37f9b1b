//! A filter, as users build it.

/// Selects the records of a query.
///
/// A filter is plain data. It has a JSON form, the one of Chroma's `where` with some additions.
/// [`FromStr`] and `Deserialize` read that form; [`Display`] and `Serialize` write it.
///
/// ```
/// use deltafold::Filter;
///
/// # fn main() -> Result<(), deltafold::FilterError> {
/// let filter: Filter = r#"{"$and": [{"year": {"$gte": 2020}}, {"lang": "en"}]}"#.parse()?;
/// assert_eq!(filter, Filter::at_least("year", 2020).and(Filter::equals("lang", "en")));
/// assert_eq!(filter.to_string(), r#"{"$and":[{"year":{"$gte":2020}},{"lang":{"$eq":"en"}}]}"#);
/// # Ok(())
/// # }
/// ```
///
/// # JSON form
///
/// Every object has exactly one key.
///
/// | clause | matches a record |
/// |---|---|
/// | `{"k": 1}`, `{"k": {"$eq": 1}}` | whose `k` is this string, number or boolean |
/// | `{"k": {"$ne": 1}}` | that does not match `$eq`: also one without `k` |
/// | `{"k": {"$gt": 1}}`, `$gte`, `$lt`, `$lte` | whose `k` is a number, or a string, on that side of the operand |
/// | `{"k": {"$in": [1, 2]}}` | whose `k` is one of these; the list holds strings, numbers or booleans |
/// | `{"k": {"$nin": [1, 2]}}` | that does not match `$in`: also one without `k` |
/// | `{"k": {"$contains": 1}}` | whose `k` is a list that holds this element |
/// | `{"k": {"$not_contains": 1}}` | that does not match `$contains`: also one without `k` |
/// | `{"k": {"$startsWith": "a"}}` | whose `k` is a string that starts so |
/// | `{"k": {"$exists": true}}` | that has `k`; with `false`, that has none |
/// | `{"#document": {"$contains": "a"}}` | whose document holds this text; the empty text matches every record |
/// | `{"#document": {"$regex": "a+"}}` | whose document matches this expression of the crate `regex` somewhere |
/// | `{"#document": {"$not_contains": "a"}}`, `$not_regex` | that does not match the former: also one without document |
/// | `{"#document": {"$exists": true}}` | that has a document; with `false`, that has none |
/// | `{"$and": […]}`, `{"$or": […]}` | that matches all of the clauses, or one of them; the list is not empty |
/// | `{"$not": {…}}` | that does not match the clause |
///
/// - Integers and floats compare by value, exactly: 2^53 + 1 is greater than the float 2^53.
/// - Strings compare by their bytes in UTF-8, case matters. Values of other types never match a
///   comparison.
/// - A list matches `$contains` and `$exists` only; no other condition sees its elements.
/// - Keys that begin with `$`, and the key `#document`, have no other meaning. Metadata under such
///   keys cannot be filtered.
///
/// [`Filter::parse_document`] reads Chroma's `where_document`.
///
/// # Limits
///
/// [`MAX_DEPTH`](Self::MAX_DEPTH) and the constants beside it. Parsing checks them.
/// [`check`](Self::check) and [`matcher`](Self::matcher) check a filter that was built otherwise.
///
/// [`FromStr`]: std::str::FromStr
/// [`Display`]: std::fmt::Display
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Filter {
    /// Every filter of the list matches.
    And(Vec<Filter>),
    /// At least one filter of the list matches.
    Or(Vec<Filter>),
    /// The filter does not match.
    Not(Box<Filter>),
    /// A condition on a metadata key.
    Metadata {
        /// The key.
        key: String,
        /// The condition on its value.
        condition: Condition,
    },
    /// A condition on the document.
    Document(DocumentCondition),
}

/// A condition on the value of a metadata key. Without the key, only `NotEquals`, `NotIn`,
/// `NotContains` and `Exists(false)` hold.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Condition {
    /// It equals this scalar.
    Equals(Scalar),
    /// It does not equal this scalar.
    NotEquals(Scalar),
    /// It is a number or string greater than this one.
    Greater(Scalar),
    /// It is a number or string at least as great as this one.
    GreaterOrEqual(Scalar),
    /// It is a number or string less than this one.
    Less(Scalar),
    /// It is a number or string at most as great as this one.
    LessOrEqual(Scalar),
    /// It equals one of these scalars.
    In(Vec<Scalar>),
    /// It equals none of these scalars.
    NotIn(Vec<Scalar>),
    /// It is a list that holds this scalar.
    Contains(Scalar),
    /// It is not a list that holds this scalar.
    NotContains(Scalar),
    /// It is a string that starts with this one.
    StartsWith(String),
    /// The key is present, or is absent.
    Exists(bool),
}

/// A condition on the document. Without a document, only `NotContains`, `NotRegex` and
/// `Exists(false)` hold. `Contains` with the empty text also holds without a document.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DocumentCondition {
    /// It holds this text.
    Contains(String),
    /// It does not hold this text.
    NotContains(String),
    /// This regular expression matches somewhere in it.
    Regex(String),
    /// This regular expression matches nowhere in it.
    NotRegex(String),
    /// There is a document, or there is none.
    Exists(bool),
}

/// The operand of a condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Text.
    String(String),
    /// An integer. It compares with floats by value.
    I64(i64),
    /// A finite float. It compares with integers by value.
    F64(f64),
    /// True or false.
    Bool(bool),
}
