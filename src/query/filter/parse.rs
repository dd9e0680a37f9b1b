//! Parses filters from their JSON form.

use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};

use super::ast::{Condition, DocumentCondition, Filter, Scalar};
use super::check::DOCUMENT;
use super::error::{FilterError, Path, shown};
use super::json::Json;

/// The operators of metadata, for messages.
const OPERATORS: &str = "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $contains, $not_contains, $startsWith or $exists";
/// The operators of documents, for messages.
const DOCUMENT_OPERATORS: &str = "$contains, $not_contains, $regex, $not_regex or $exists";

impl FromStr for Filter {
    type Err = FilterError;

    /// Reads the JSON form of a filter, Chroma's `where`.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        whole(&tree(text)?)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole(&Json::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Filter {
    /// Reads Chroma's `where_document`: a condition on the document such as `{"$contains": "a"}`,
    /// or `$and`, `$or` and `$not` of such conditions. The operators are those of the key
    /// `#document` in the [JSON form](Self#json-form).
    ///
    /// # Errors
    ///
    /// Those of [`from_str`](Self::from_str): the first fault, with its place.
    pub fn parse_document(text: &str) -> Result<Self, FilterError> {
        let filter = clause(&tree(text)?, &Path::Root, 0, Of::Document)?;
        filter.check()?;
        Ok(filter)
    }
}

fn tree(text: &str) -> Result<Json, FilterError> {
    serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let reason = if error.is_syntax() || error.is_eof() {
            format!("it is not valid JSON: {said}; correct it there")
        } else {
            said
        };
        FilterError::new(&Path::Root, reason)
    })
}

fn whole(json: &Json) -> Result<Filter, FilterError> {
    let filter = clause(json, &Path::Root, 0, Of::Record)?;
    filter.check()?;
    Ok(filter)
}

/// The subject of a clause.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    /// Metadata and document: `where`.
    Record,
    /// The document alone: `where_document`.
    Document,
}

fn clause(json: &Json, at: &Path<'_>, depth: usize, of: Of) -> Result<Filter, FilterError> {
    if depth > Filter::MAX_DEPTH {
        let reason = format!("the filter has more than {} levels of nesting; flatten it", Filter::MAX_DEPTH);
        return Err(FilterError::new(at, reason));
    }
    let example = match of {
        Of::Record => r#"`{"year": {"$gte": 2020}}`"#,
        Of::Document => r#"`{"$contains": "text"}`"#,
    };
    let (key, value) = single(json, at, "a clause", example)?;
    let at = &at.key(key);
    match (key, of) {
        ("$and", _) => Ok(Filter::And(clauses(value, at, depth, of)?)),
        ("$or", _) => Ok(Filter::Or(clauses(value, at, depth, of)?)),
        ("$not", _) => Ok(Filter::Not(Box::new(clause(value, at, depth + 1, of)?))),
        (_, Of::Document) => Ok(Filter::Document(document(key, value, at)?)),
        (DOCUMENT, Of::Record) => {
            let (operator, operand) = single(value, at, "a condition on the document", r#"`{"$contains": "text"}`"#)?;
            Ok(Filter::Document(document(operator, operand, &at.key(operator))?))
        }
        (key, Of::Record) if key.starts_with('$') => {
            let reason = format!(
                "a clause begins with a metadata key, `{DOCUMENT}`, `$and`, `$or` or `$not`; put operators below a key, \
                 as in {example}"
            );
            Err(FilterError::new(at, reason))
        }
        (key, Of::Record) => Ok(Filter::metadata(key, condition(value, at)?)),
    }
}

fn clauses(json: &Json, at: &Path<'_>, depth: usize, of: Of) -> Result<Vec<Filter>, FilterError> {
    let Json::List(list) = json else {
        return Err(FilterError::new(at, format!("expected a list of clauses, found {}", json.name())));
    };
    list.iter().enumerate().map(|(index, json)| clause(json, &at.index(index), depth + 1, of)).collect()
}

/// The only member of an object.
fn single<'a>(json: &'a Json, at: &Path<'_>, what: &str, example: &str) -> Result<(&'a str, &'a Json), FilterError> {
    let Json::Object(members) = json else {
        return Err(FilterError::new(at, format!("expected {what} such as {example}, found {}", json.name())));
    };
    match members.as_slice() {
        [(key, value)] => Ok((key, value)),
        [] => Err(FilterError::new(at, format!("the object is empty; write {what} such as {example}"))),
        several => {
            let (first, second) = (several.first(), several.get(1));
            let name = |member: Option<&(String, Json)>| shown(member.map_or("", |(key, _)| key));
            let reason = format!(
                "an object has one key, this one has {}: `{}`, `{}`{}; make an object of each and join them with `$and`",
                several.len(),
                name(first),
                name(second),
                if several.len() > 2 { ", …" } else { "" }
            );
            Err(FilterError::new(at, reason))
        }
    }
}

fn condition(json: &Json, at: &Path<'_>) -> Result<Condition, FilterError> {
    let Json::Object(_) = json else {
        return match json {
            Json::Null => Err(FilterError::new(
                at,
                r#"no value is null; to find records without the key write `{"$exists": false}`"#,
            )),
            Json::List(_) => Err(FilterError::new(
                at,
                r#"a list equals nothing; write `{"$in": […]}` for one of several values, or `{"$contains": …}` for an element of a list"#,
            )),
            json => Ok(Condition::Equals(scalar(json, at)?)),
        };
    };
    let (operator, operand) = single(json, at, "a condition", r#"`{"$gte": 2020}`"#)?;
    let at = &at.key(operator);
    match operator {
        "$eq" => Ok(Condition::Equals(scalar(operand, at)?)),
        "$ne" => Ok(Condition::NotEquals(scalar(operand, at)?)),
        "$gt" => Ok(Condition::Greater(scalar(operand, at)?)),
        "$gte" => Ok(Condition::GreaterOrEqual(scalar(operand, at)?)),
        "$lt" => Ok(Condition::Less(scalar(operand, at)?)),
        "$lte" => Ok(Condition::LessOrEqual(scalar(operand, at)?)),
        "$in" => Ok(Condition::In(scalars(operand, at)?)),
        "$nin" => Ok(Condition::NotIn(scalars(operand, at)?)),
        "$contains" => Ok(Condition::Contains(scalar(operand, at)?)),
        "$not_contains" => Ok(Condition::NotContains(scalar(operand, at)?)),
        "$startsWith" => Ok(Condition::StartsWith(text(operand, at)?)),
        "$exists" => Ok(Condition::Exists(boolean(operand, at)?)),
        "$regex" | "$not_regex" => {
            let reason = format!("expressions match documents only; write `{{\"{DOCUMENT}\": {{\"{operator}\": …}}}}`");
            Err(FilterError::new(at, reason))
        }
        "$not" | "$and" | "$or" => {
            let reason = format!("`{operator}` stands around whole clauses, not below a key; write it outside");
            Err(FilterError::new(at, reason))
        }
        _ => Err(FilterError::new(at, format!("there is no such operator; expected {OPERATORS}"))),
    }
}

fn document(operator: &str, operand: &Json, at: &Path<'_>) -> Result<DocumentCondition, FilterError> {
    match operator {
        "$contains" => Ok(DocumentCondition::Contains(text(operand, at)?)),
        "$not_contains" => Ok(DocumentCondition::NotContains(text(operand, at)?)),
        "$regex" => Ok(DocumentCondition::Regex(text(operand, at)?)),
        "$not_regex" => Ok(DocumentCondition::NotRegex(text(operand, at)?)),
        "$exists" => Ok(DocumentCondition::Exists(boolean(operand, at)?)),
        _ => {
            let reason = format!("the document has no such operator; expected {DOCUMENT_OPERATORS}");
            Err(FilterError::new(at, reason))
        }
    }
}

fn scalars(json: &Json, at: &Path<'_>) -> Result<Vec<Scalar>, FilterError> {
    let Json::List(list) = json else {
        return Err(FilterError::new(at, format!("expected a list of values, found {}", json.name())));
    };
    list.iter().enumerate().map(|(index, json)| scalar(json, &at.index(index))).collect()
}

fn scalar(json: &Json, at: &Path<'_>) -> Result<Scalar, FilterError> {
    match json {
        Json::String(value) => Ok(Scalar::String(value.clone())),
        Json::Bool(value) => Ok(Scalar::Bool(*value)),
        Json::I64(value) => Ok(Scalar::I64(*value)),
        Json::F64(value) => Ok(Scalar::F64(*value)),
        Json::Beyond(value) => {
            let reason = format!("{value} does not fit a 64-bit integer; write it as a float, such as `{value}.0`");
            Err(FilterError::new(at, reason))
        }
        json => Err(FilterError::new(at, format!("expected a string, a number or a boolean, found {}", json.name()))),
    }
}

fn text(json: &Json, at: &Path<'_>) -> Result<String, FilterError> {
    match json {
        Json::String(value) => Ok(value.clone()),
        json => Err(FilterError::new(at, format!("expected a string, found {}", json.name()))),
    }
}

fn boolean(json: &Json, at: &Path<'_>) -> Result<bool, FilterError> {
    match json {
        Json::Bool(value) => Ok(*value),
        json => Err(FilterError::new(at, format!("expected true or false, found {}", json.name()))),
    }
}
