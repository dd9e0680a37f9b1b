//! Answers to `get` and to queries with many hits: parallel lists, written as JSON while the
//! records come.
//!
//! Lists that outgrow [`HELD`] bytes move to a temporary file, so an answer may have any size. It
//! begins once every record was read. So an error has its status, and never breaks an answer off.

use std::io;
use std::mem;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, Stream};
use serde::Serialize;

use super::answer::Field;
use super::embedding::Encoding;
use super::metadata;
use crate::env;
use crate::error::Result;
use crate::query::Hit;
use crate::reader::Entry;
use crate::scratch::{self, Extent, Scratch};

/// Most bytes of an answer in memory.
const HELD: usize = 4 << 20;
/// Bytes of the temporary file that are sent at once.
const SENT: u64 = 256 << 10;

/// A list of the answer: its beginning in the temporary file, its end in memory.
#[derive(Debug, Default)]
struct Column {
    moved: Vec<Extent>,
    text: Vec<u8>,
}

impl Column {
    /// Appends an element.
    fn push(&mut self, value: &impl Serialize, is_first: bool) {
        if !is_first {
            self.text.push(b',');
        }
        if serde_json::to_writer(&mut self.text, value).is_err() {
            debug_assert!(false, "strings, numbers and their maps have a form in JSON");
        }
    }
}

/// The lists of an answer under way.
#[derive(Debug)]
pub(super) struct Columns {
    include: Vec<Field>,
    encoding: Encoding,
    records: usize,
    ids: Column,
    embeddings: Option<Column>,
    documents: Option<Column>,
    uris: Option<Column>,
    metadatas: Option<Column>,
    /// The distances of a query's hits, where they are wanted; `None` in an answer to `get`.
    distances: Option<Option<Column>>,
    /// Number of lists begun. An answer to `get` has a single one, which counts as none.
    begun: usize,
    /// Bytes that are held in memory before the lists move.
    held: usize,
    scratch: Scratch,
}

impl Columns {
    /// The empty answer with these fields.
    pub(super) fn new(include: Vec<Field>, encoding: Encoding) -> Self {
        Self::holding(HELD, include, encoding)
    }

    /// The empty answer to queries. Each has a list within the lists.
    pub(super) fn of_queries(include: Vec<Field>, encoding: Encoding) -> Self {
        let distances = include.contains(&Field::Distances).then(Column::default);
        Self { distances: Some(distances), ..Self::new(include, encoding) }
    }

    fn holding(held: usize, include: Vec<Field>, encoding: Encoding) -> Self {
        let column = |field| include.contains(&field).then(Column::default);
        Self {
            records: 0,
            ids: Column::default(),
            embeddings: column(Field::Embeddings),
            documents: column(Field::Documents),
            uris: column(Field::Uris),
            metadatas: column(Field::Metadatas),
            distances: None,
            begun: 0,
            include,
            encoding,
            held,
            scratch: Scratch::default(),
        }
    }

    /// Begins the list of the next query.
    pub(super) fn begin(&mut self) {
        let begins: &[u8] = if self.begun == 0 { b"[" } else { b",[" };
        self.begun += 1;
        self.records = 0;
        self.lists().for_each(|column| column.text.extend(begins));
    }

    /// Ends the list of a query.
    pub(super) fn end(&mut self) {
        self.lists().for_each(|column| column.text.push(b']'));
    }

    /// Appends a hit.
    pub(super) async fn push_hit(&mut self, hit: Hit) -> Result<()> {
        let first = self.records == 0;
        if let Some(Some(column)) = &mut self.distances {
            column.push(&hit.distance, first);
        }
        self.push(hit.entry).await
    }

    /// Appends a record.
    pub(super) async fn push(&mut self, entry: Entry) -> Result<()> {
        let first = self.records == 0;
        self.records += 1;
        self.ids.push(&entry.id, first);
        if let Some(column) = &mut self.embeddings {
            column.push(&self.encoding.of(entry.record.embedding), first);
        }
        if let Some(column) = &mut self.documents {
            column.push(&entry.record.document, first);
        }
        if self.uris.is_some() || self.metadatas.is_some() {
            let (metadata, uri) = metadata::document(entry.record.metadata);
            if let Some(column) = &mut self.uris {
                column.push(&uri, first);
            }
            if let Some(column) = &mut self.metadatas {
                column.push(&metadata, first);
            }
        }
        if self.lists().map(|column| column.text.len()).sum::<usize>() > self.held {
            self.move_lists().await?;
        }
        Ok(())
    }

    fn lists(&mut self) -> impl Iterator<Item = &mut Column> {
        let Self { ids, embeddings, documents, uris, metadatas, distances, .. } = self;
        let distances = distances.as_mut().and_then(Option::as_mut);
        [Some(ids), embeddings.as_mut(), documents.as_mut(), uris.as_mut(), metadatas.as_mut(), distances]
            .into_iter()
            .flatten()
    }

    /// Moves the text of all lists to the temporary file.
    async fn move_lists(&mut self) -> Result<()> {
        let texts: Vec<Bytes> = self.lists().map(|column| mem::take(&mut column.text).into()).collect();
        let scratch = self.scratch.clone();
        let put = move || texts.into_iter().map(|text| scratch.put(&[text])).collect::<io::Result<Vec<Extent>>>();
        let moved = env::blocking(put).await.map_err(scratch::failed)?;
        for (column, extent) in self.lists().zip(moved) {
            column.moved.push(extent);
        }
        Ok(())
    }

    /// The pieces of the answer, in order.
    fn pieces(self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut list = |name: &str, column: Option<Column>| {
            let Some(Column { moved, text }) = column else {
                return pieces.push(Piece::Held(format!("\"{name}\":null,").into()));
            };
            pieces.push(Piece::Held(format!("\"{name}\":[").into()));
            pieces.extend(moved.into_iter().map(|extent| Piece::Moved(Arc::new(extent))));
            pieces.extend([Piece::Held(text.into()), Piece::Held(Bytes::from_static(b"],"))]);
        };
        list("ids", Some(self.ids));
        list("embeddings", self.embeddings);
        list("documents", self.documents);
        list("uris", self.uris);
        list("metadatas", self.metadatas);
        if let Some(distances) = self.distances {
            list("distances", distances);
        }
        let include = serde_json::to_string(&self.include).unwrap_or_else(|_| "[]".to_owned());
        pieces.push(Piece::Held(format!("\"include\":{include}}}").into()));
        pieces.insert(0, Piece::Held(Bytes::from_static(b"{")));
        pieces
    }
}

/// A piece of an answer.
#[derive(Debug)]
enum Piece {
    Held(Bytes),
    Moved(Arc<Extent>),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Moved(extent) => extent.len(),
        }
    }
}

/// The bytes of some pieces, a part at a time.
fn sent(pieces: Vec<Piece>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((pieces.into_iter(), None::<(Arc<Extent>, u64)>), |(mut pieces, reading)| async move {
        let (extent, at) = match reading {
            Some(reading) => reading,
            None => match pieces.next() {
                None => return Ok(None),
                Some(Piece::Held(bytes)) => return Ok(Some((bytes, (pieces, None)))),
                Some(Piece::Moved(extent)) => (extent, 0),
            },
        };
        let end = extent.len().min(at + SENT);
        let reading = extent.clone();
        let bytes = env::blocking(move || reading.read(at, end)).await.inspect_err(|error| {
            tracing::error!(%error, "the temporary file of an answer could not be read; the answer was broken off");
        })?;
        let left = (end < extent.len()).then_some((extent, end));
        Ok(Some((bytes, (pieces, left))))
    })
}

impl IntoResponse for Columns {
    fn into_response(self) -> Response {
        let pieces = self.pieces();
        let length = pieces.iter().map(Piece::len).sum::<u64>();
        let held: Option<Vec<&[u8]>> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Held(bytes) => Some(&bytes[..]),
                Piece::Moved(_) => None,
            })
            .collect();
        let body = match held {
            Some(held) => Body::from(held.concat()),
            None => Body::from_stream(sent(pieces)),
        };
        // With its length a client notices an answer that breaks off.
        let headers =
            [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_LENGTH, length.to_string())];
        (headers, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use deltafold_format::{Place, Position, Record, ShardId, Value};
    use serde_json::json;

    use super::*;

    fn entry(number: usize) -> Entry {
        let place = Place::Log(Position::ZERO);
        let record = Record {
            embedding: Some(vec![number as f32, 0.5]),
            metadata: [("n".to_owned(), Value::I64(number as i64))].into(),
            document: number.is_multiple_of(2).then(|| "x".repeat(number)),
        };
        Entry { id: number.to_string(), record, inserted: place, changed: place, shard: ShardId::default() }
    }

    /// An answer beyond the memory goes through the temporary file. Its bytes are the same.
    #[tokio::test]
    async fn a_moved_answer_equals_one_in_memory() {
        let all = [Field::Documents, Field::Embeddings, Field::Metadatas, Field::Uris];
        let mut texts = Vec::new();
        for held in [1 << 20, 1_000] {
            let mut columns = Columns::holding(held, all.to_vec(), Encoding::Numbers);
            for number in 0..200 {
                columns.push(entry(number)).await.unwrap();
            }
            assert_eq!(columns.scratch.bytes() > 0, held == 1_000, "the small answer stays in memory");
            let response = columns.into_response();
            let length: usize = response.headers()[header::CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(body.len(), length);
            texts.push(body);
        }
        assert_eq!(texts[0], texts[1]);
        let value: serde_json::Value = serde_json::from_slice(&texts[0]).unwrap();
        assert_eq!(value["ids"].as_array().unwrap().len(), 200);
        assert_eq!(value["embeddings"][7], json!([7.0, 0.5]));
        assert_eq!((&value["documents"][6], &value["documents"][7]), (&json!("xxxxxx"), &json!(null)));
        assert_eq!((&value["metadatas"][9], &value["uris"][9]), (&json!({ "n": 9 }), &json!(null)));
        assert_eq!(value["include"], json!(["documents", "embeddings", "metadatas", "uris"]));
    }

    /// A list for each query, also an empty one, and also through the temporary file.
    #[tokio::test]
    async fn hits_of_queries_are_lists_in_lists() {
        for held in [1 << 20, 20] {
            let include = vec![Field::Distances, Field::Documents];
            let mut columns = Columns { held, ..Columns::of_queries(include, Encoding::Numbers) };
            for (hits, distance) in [(0..2, 0.5), (2..2, 0.0), (2..3, 1.5)] {
                columns.begin();
                for number in hits {
                    columns.push_hit(Hit { distance, entry: entry(number) }).await.unwrap();
                }
                columns.end();
            }
            let body = axum::body::to_bytes(columns.into_response().into_body(), usize::MAX).await.unwrap();
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let expected = json!({
                "ids": [["0", "1"], [], ["2"]], "documents": [["", null], [], ["xx"]],
                "distances": [[0.5, 0.5], [], [1.5]], "embeddings": null, "uris": null, "metadatas": null,
                "include": ["distances", "documents"],
            });
            assert_eq!(value, expected, "{held} bytes in memory");
        }
    }

    #[tokio::test]
    async fn fields_left_out_are_null() {
        let response = Columns::new(Vec::new(), Encoding::Numbers).into_response();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = json!({
            "ids": [], "embeddings": null, "documents": null, "uris": null, "metadatas": null, "include": [],
        });
        assert_eq!(value, expected);
    }
}
