//! One value of a column.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use deltafold_format::Value;

/// A text of a column of texts; `None` if it is null. `Err` with the reason for another column.
pub(super) fn text(array: &dyn Array, at: usize) -> Result<Option<&str>, String> {
    if array.is_null(at) {
        return Ok(None);
    }
    if let Some(array) = array.as_string_opt::<i32>() {
        return Ok(Some(array.value(at)));
    }
    if let Some(array) = array.as_string_opt::<i64>() {
        return Ok(Some(array.value(at)));
    }
    if let Some(array) = array.as_string_view_opt() {
        return Ok(Some(array.value(at)));
    }
    if let Some((values, key)) = dictionary(array, at) {
        return key.map_or(Ok(None), |key| text(values, key));
    }
    Err(format!("it holds {}, and texts are needed", kind(array.data_type())))
}

/// The values of a dictionary, and the place of a row's value in them.
fn dictionary(array: &dyn Array, at: usize) -> Option<(&dyn Array, Option<usize>)> {
    let dictionary = array.as_any_dictionary_opt()?;
    let values: &ArrayRef = dictionary.values();
    let key = whole(dictionary.keys(), at)?;
    let key = usize::try_from(key).ok().filter(|key| *key < values.len());
    Some((values.as_ref(), key))
}

/// A number of a column of whole numbers.
fn whole(array: &dyn Array, at: usize) -> Option<i128> {
    match array.data_type() {
        DataType::Int8 => array.as_primitive_opt::<Int8Type>().map(|array| array.value(at).into()),
        DataType::Int16 => array.as_primitive_opt::<Int16Type>().map(|array| array.value(at).into()),
        DataType::Int32 => array.as_primitive_opt::<Int32Type>().map(|array| array.value(at).into()),
        DataType::Int64 => array.as_primitive_opt::<Int64Type>().map(|array| array.value(at).into()),
        DataType::UInt8 => array.as_primitive_opt::<UInt8Type>().map(|array| array.value(at).into()),
        DataType::UInt16 => array.as_primitive_opt::<UInt16Type>().map(|array| array.value(at).into()),
        DataType::UInt32 => array.as_primitive_opt::<UInt32Type>().map(|array| array.value(at).into()),
        DataType::UInt64 => array.as_primitive_opt::<UInt64Type>().map(|array| array.value(at).into()),
        _ => None,
    }
}

/// A number of a column of floats.
fn float(array: &dyn Array, at: usize) -> Option<f64> {
    match array.data_type() {
        DataType::Float16 => array.as_primitive_opt::<Float16Type>().map(|array| array.value(at).to_f64()),
        DataType::Float32 => array.as_primitive_opt::<Float32Type>().map(|array| array.value(at).into()),
        DataType::Float64 => array.as_primitive_opt::<Float64Type>().map(|array| array.value(at)),
        _ => None,
    }
}

/// An id: a text, or a whole number in decimal.
pub(super) fn id(array: &dyn Array, at: usize) -> Result<Option<String>, String> {
    if !array.is_null(at)
        && let Some(number) = whole(array, at)
    {
        return Ok(Some(number.to_string()));
    }
    Ok(text(array, at)?.map(str::to_owned))
}

/// The elements of a row of a list; `None` if the column holds no lists.
fn elements(array: &dyn Array, at: usize) -> Option<ArrayRef> {
    if let Some(array) = array.as_fixed_size_list_opt() {
        return Some(array.value(at));
    }
    if let Some(array) = array.as_list_opt::<i32>() {
        return Some(array.value(at));
    }
    array.as_list_opt::<i64>().map(|array| array.value(at))
}

/// An embedding: a list of floats.
pub(super) fn embedding(array: &dyn Array, at: usize) -> Result<Option<Vec<f32>>, String> {
    if array.is_null(at) {
        return Ok(None);
    }
    let needed = || format!("it holds {}, and lists of 16, 32 or 64-bit floats are needed", kind(array.data_type()));
    let numbers = elements(array, at).ok_or_else(needed)?;
    if let Some(index) =
        (numbers.null_count() > 0).then(|| (0..numbers.len()).find(|at| numbers.is_null(*at))).flatten()
    {
        return Err(format!("number {index} of the embedding is null"));
    }
    match numbers.data_type() {
        DataType::Float32 => Ok(numbers.as_primitive_opt::<Float32Type>().map(|numbers| numbers.values().to_vec())),
        DataType::Float16 | DataType::Float64 => {
            Ok(Some((0..numbers.len()).filter_map(|at| float(&numbers, at)).map(|number| number as f32).collect()))
        }
        _ => Err(needed()),
    }
}

/// A metadata value; `None` if it is null.
pub(super) fn value(array: &dyn Array, at: usize) -> Result<Option<Value>, String> {
    if array.is_null(at) || *array.data_type() == DataType::Null {
        return Ok(None);
    }
    if let Some(list) = elements(array, at) {
        return list_of(&list).map(Some);
    }
    if let Some(array) = array.as_boolean_opt() {
        return Ok(Some(Value::Bool(array.value(at))));
    }
    if let Some(number) = whole(array, at) {
        let too_large = |_| format!("{number} does not fit a signed 64-bit integer");
        return Ok(Some(Value::I64(i64::try_from(number).map_err(too_large)?)));
    }
    if let Some(number) = float(array, at) {
        return Ok(Some(Value::F64(number)));
    }
    if let Some((values, key)) = dictionary(array, at) {
        return key.map_or(Ok(None), |key| value(values, key));
    }
    Ok(text(array, at).map_err(|_| unheld(array.data_type()))?.map(|text| Value::String(text.to_owned())))
}

/// The reason why metadata cannot hold a column.
fn unheld(held: &DataType) -> String {
    format!(
        "it holds {}, and metadata holds texts, numbers, booleans and lists of them. Name the columns to take with \
         `metadata=COLUMN`, without this one",
        kind(held)
    )
}

/// Whether metadata can hold values of a column.
pub(super) fn check(held: &DataType) -> Result<(), String> {
    let fits = match held {
        DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) => {
            is_scalar(inner.data_type())
        }
        DataType::Dictionary(_, values) => is_scalar(values),
        other => is_scalar(other) || *other == DataType::Null,
    };
    if fits { Ok(()) } else { Err(unheld(held)) }
}

fn is_scalar(held: &DataType) -> bool {
    held.is_integer()
        || matches!(
            held,
            DataType::Boolean
                | DataType::Float16
                | DataType::Float32
                | DataType::Float64
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
        )
}

fn list_of(list: &ArrayRef) -> Result<Value, String> {
    if let Some(index) = (list.null_count() > 0).then(|| (0..list.len()).find(|at| list.is_null(*at))).flatten() {
        return Err(format!("element {index} of the list is null, and lists of metadata have no nulls"));
    }
    let places = 0..list.len();
    if let Some(truths) = list.as_boolean_opt() {
        return Ok(Value::Bools(places.map(|at| truths.value(at)).collect()));
    }
    if list.data_type().is_integer() {
        let number = |at| whole(list, at).and_then(|number| i64::try_from(number).ok());
        let numbers: Option<Vec<i64>> = places.map(number).collect();
        return numbers
            .map(Value::I64s)
            .ok_or_else(|| "a number of the list does not fit a signed 64-bit integer".into());
    }
    if list.data_type().is_floating() {
        return Ok(Value::F64s(places.filter_map(|at| float(list, at)).collect()));
    }
    let texts = places.map(|at| text(list, at).map(|text| text.unwrap_or_default().to_owned()));
    texts.collect::<Result<_, String>>().map(Value::Strings).map_err(|_| unheld(list.data_type()))
}

/// A type in words.
fn kind(held: &DataType) -> String {
    match held {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "texts".to_owned(),
        DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) => {
            format!("lists of {}", kind(inner.data_type()))
        }
        DataType::Struct(_) => "structures".to_owned(),
        other => format!("values of the type {other}"),
    }
}
