//! Embeddings from numpy arrays and lists.

use numpy::ndarray::{ArrayView2, Dimension};
use numpy::{PyArray, PyArray1, PyArray2, PyArrayMethods as _, PyReadonlyArray2, PyUntypedArrayMethods as _};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::value::kind;
use crate::call::invalid;

/// Embeddings of some rows. Numbers in 32 bits stay in the array of the caller until a row is
/// read.
pub(crate) enum Vectors {
    /// One array of rows.
    Array(Py<PyArray2<f32>>),
    /// One by one; `None` for a row without an embedding.
    Rows(Vec<Option<Vec<f32>>>),
}

impl Vectors {
    /// Embeddings of an argument: an array of shape (rows, dimension), or a sequence of vectors and
    /// `None`. Numbers of other widths are converted to 32 bits.
    pub(crate) fn of(argument: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        if let Ok(array) = argument.cast::<PyArray2<f32>>() {
            return Ok(Self::Array(in_whole_numbers(array)?.unbind()));
        }
        let has_holes = argument.cast::<PyList>().is_ok_and(|list| list.iter().any(|row| row.is_none()));
        if !has_holes && let Ok(array) = converted(argument) {
            if let Ok(array) = array.cast::<PyArray2<f32>>() {
                return Ok(Self::Array(array.clone().unbind()));
            }
            // An empty list has one dimension.
            if array.cast::<PyArray1<f32>>().is_ok_and(|array| array.len() == 0) {
                return Ok(Self::Rows(Vec::new()));
            }
            let py = argument.py();
            let shape = array.getattr("shape").and_then(|shape| shape.str()).map(|text| text.to_string());
            let shape = shape.unwrap_or_default();
            return Err(invalid(
                py,
                format!("{name} has the shape {shape}; give one row for each id: (rows, dimension)"),
            ));
        }
        rows(argument, name).map(Self::Rows)
    }

    /// Number of rows.
    pub(crate) fn len(&self, py: Python<'_>) -> usize {
        match self {
            Self::Array(array) => array.bind(py).shape().first().copied().unwrap_or_default(),
            Self::Rows(rows) => rows.len(),
        }
    }

    /// About the numbers in a row.
    pub(crate) fn width(&self, py: Python<'_>) -> usize {
        match self {
            Self::Array(array) => array.bind(py).shape().get(1).copied().unwrap_or_default(),
            Self::Rows(rows) => rows.iter().flatten().next().map_or(0, Vec::len),
        }
    }

    /// A reader of rows. It refuses an array that an extension in Rust is writing to.
    pub(crate) fn reader<'py>(&'py self, py: Python<'py>, name: &str) -> PyResult<Reader<'py>> {
        match self {
            Self::Array(array) => {
                let array = array.bind(py).try_readonly();
                let borrowed = |_| invalid(py, format!("{name} is being written to by another thread; copy it first"));
                Ok(Reader::Array(array.map_err(borrowed)?))
            }
            Self::Rows(rows) => Ok(Reader::Rows(rows)),
        }
    }
}

/// Reads rows of embeddings.
pub(crate) enum Reader<'py> {
    Array(PyReadonlyArray2<'py, f32>),
    Rows(&'py [Option<Vec<f32>>]),
}

impl Reader<'_> {
    /// The numbers. They can be read without the lock of the interpreter.
    pub(crate) fn numbers(&self) -> Numbers<'_> {
        match self {
            Self::Array(array) => Numbers::Array(array.as_array()),
            Self::Rows(rows) => Numbers::Rows(rows),
        }
    }
}

/// Rows of numbers.
pub(crate) enum Numbers<'a> {
    Array(ArrayView2<'a, f32>),
    Rows(&'a [Option<Vec<f32>>]),
}

impl Numbers<'_> {
    /// The embedding of a row.
    pub(crate) fn row(&self, at: usize) -> Option<Vec<f32>> {
        match self {
            Self::Array(array) => {
                let row = array.row(at);
                Some(row.as_slice().map_or_else(|| row.iter().copied().collect(), <[f32]>::to_vec))
            }
            Self::Rows(rows) => rows.get(at).cloned().flatten(),
        }
    }
}

/// The array itself if its numbers lie at multiples of their size, and otherwise a copy. In fields
/// of packed records and in slices of bytes they lie elsewhere. A view of the crate `numpy` does
/// not look: it would read other numbers.
fn in_whole_numbers<'py, D: Dimension>(array: &Bound<'py, PyArray<f32, D>>) -> PyResult<Bound<'py, PyArray<f32, D>>> {
    let is_whole = |bytes: usize| bytes.is_multiple_of(size_of::<f32>());
    if is_whole(array.data().addr()) && array.strides().iter().all(|stride| is_whole(stride.unsigned_abs())) {
        return Ok(array.clone());
    }
    Ok(array.call_method0("copy")?.cast_into()?)
}

/// An array of 32-bit floats. A warning of numpy about numbers out of range does not reach the
/// caller: the engine refuses such numbers.
fn converted<'py>(argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = argument.py();
    let numpy = py.import("numpy")?;
    let quiet = PyDict::new(py);
    quiet.set_item("all", "ignore")?;
    let state = numpy.call_method("errstate", (), Some(&quiet))?;
    state.call_method0("__enter__")?;
    let array = numpy.call_method1("asarray", (argument,)).and_then(|array| {
        // Texts and objects do not count as numbers.
        let numbers: bool =
            array.getattr("dtype")?.getattr("kind")?.extract::<String>().map(|kind| "fiub".contains(&kind))?;
        if !numbers && array.getattr("size")?.extract::<usize>()? > 0 {
            return Err(pyo3::exceptions::PyTypeError::new_err("not numbers"));
        }
        array.call_method1("astype", ("float32",))
    });
    state.call_method1("__exit__", (py.None(), py.None(), py.None()))?;
    array
}

/// Vectors one by one. An error names the row.
fn rows(argument: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<Option<Vec<f32>>>> {
    let py = argument.py();
    let wrong = |_| invalid(py, format!("{name} is {}; give a numpy array or a list of vectors", kind(argument)));
    let mut rows: Vec<Option<Vec<f32>>> = Vec::new();
    let mut length = None;
    for (at, row) in argument.try_iter().map_err(wrong)?.enumerate() {
        let row = row?;
        if row.is_none() {
            rows.push(None);
            continue;
        }
        let vector = vector(&row, &format!("{name}, row {at}"))?;
        if *length.get_or_insert(vector.len()) != vector.len() {
            let first = length.unwrap_or_default();
            return Err(invalid(
                py,
                format!(
                    "{name}, row {at} has {} numbers, and the rows before have {first}; give rows of one length",
                    vector.len()
                ),
            ));
        }
        rows.push(Some(vector));
    }
    Ok(rows)
}

/// One vector of an argument.
pub(crate) fn vector(argument: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<f32>> {
    let py = argument.py();
    let wrong = || invalid(py, format!("{name} is {}; give a vector of numbers", kind(argument)));
    let array = converted(argument).map_err(|_| wrong())?;
    let array = array.cast::<PyArray1<f32>>().map_err(|_| wrong())?;
    Ok(array.readonly().as_array().to_vec())
}

/// The vectors of a query: one of shape (dimension,) or several of shape (queries, dimension).
pub(crate) fn queries(argument: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<f32>>> {
    let py = argument.py();
    if let Ok(array) = argument.cast::<PyArray1<f32>>() {
        return Ok(vec![in_whole_numbers(array)?.readonly().as_array().to_vec()]);
    }
    if let Ok(array) = converted(argument)
        && let Ok(array) = array.cast::<PyArray1<f32>>()
        && array.len() > 0
    {
        return Ok(vec![array.readonly().as_array().to_vec()]);
    }
    let vectors = Vectors::of(argument, "vectors")?;
    let (count, reader) = (vectors.len(py), vectors.reader(py, "vectors")?);
    let missing = |at| move || invalid(py, format!("vectors, row {at} is None; give a vector"));
    let numbers = reader.numbers();
    (0..count).map(|at| numbers.row(at).ok_or_else(missing(at))).collect()
}
