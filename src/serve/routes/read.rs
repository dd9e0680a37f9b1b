//! Calls that read records.

use axum::Json;
use axum::extract::{Path, State};
use futures::TryStreamExt as _;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::id;
use crate::error::Result;
use crate::query::{Find, MAX_K, Query};
use crate::reader::{self, Reader};
use crate::serve::answer::{Field, include};
use crate::serve::app::App;
use crate::serve::batch::same_dimension;
use crate::serve::body::Body;
use crate::serve::bounded;
use crate::serve::columns::Columns;
use crate::serve::embedding::{Embedding, Encoding};
use crate::serve::error::{Answer, ApiError};
use crate::serve::filters::filter;
use crate::serve::many;
use crate::serve::named::{self, named};
use crate::serve::opened::Opened;
use crate::serve::pool::Found;

type At = Path<(String, String, String)>;

/// Most hits of all queries of one call together.
const MAX_HITS: usize = 262_144;

/// The records to get.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Get {
    #[serde(default, deserialize_with = "bounded::optional_list")]
    ids: Option<Vec<String>>,
    #[serde(default, deserialize_with = "bounded::value")]
    r#where: Option<Value>,
    #[serde(default, deserialize_with = "bounded::value")]
    where_document: Option<Value>,
    limit: Option<usize>,
    offset: Option<usize>,
    include: Option<Vec<Field>>,
    #[serde(default)]
    embedding_encoding: Encoding,
}

/// The neighbours to find.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Nearest {
    #[serde(deserialize_with = "bounded::list")]
    query_embeddings: Vec<Embedding>,
    n_results: Option<usize>,
    #[serde(default, deserialize_with = "bounded::optional_list")]
    ids: Option<Vec<String>>,
    #[serde(default, deserialize_with = "bounded::value")]
    r#where: Option<Value>,
    #[serde(default, deserialize_with = "bounded::value")]
    where_document: Option<Value>,
    include: Option<Vec<Field>>,
    #[serde(default)]
    embedding_encoding: Encoding,
}

async fn found(app: &App, tenant: &str, database: &str, collection: &str) -> Answer<Found> {
    app.pool().find(tenant, database, id(collection)?).await
}

pub(super) async fn count(State(app): State<App>, Path((tenant, database, collection)): At) -> Answer<Json<u64>> {
    count_at(&app, found(&app, &tenant, &database, &collection).await?, &reader::At::Latest).await
}

pub(super) async fn count_at(app: &App, found: Found, at: &reader::At) -> Answer<Json<u64>> {
    match found {
        Found::Empty(_) => Ok(Json(0)),
        Found::Open(opened) => read(app, &opened, at, |reader| async move { reader.count().await }).await.map(Json),
    }
}

/// Every record is searched as soon as it is written, so all of them count as indexed.
pub(super) async fn indexing_status(app: State<App>, at: At) -> Answer<Json<Value>> {
    let Json(records) = count(app, at).await?;
    Ok(Json(json!({
        "num_indexed_ops": records,
        "num_unindexed_ops": 0,
        "total_ops": records,
        "op_indexing_progress": 1.0,
    })))
}

pub(super) async fn get(
    State(app): State<App>,
    Path((tenant, database, collection)): At,
    Body(get): Body<Get>,
) -> Answer<Columns> {
    get_at(&app, found(&app, &tenant, &database, &collection).await?, get, &reader::At::Latest).await
}

pub(super) async fn get_at(app: &App, found: Found, get: Get, at: &reader::At) -> Answer<Columns> {
    let filter = &filter(get.r#where.as_ref(), get.where_document.as_ref())?;
    let fields = &get.include.unwrap_or_else(|| vec![Field::Metadatas, Field::Documents]);
    let include = include(fields);
    let (ids, limit, offset) = (&get.ids, get.limit, get.offset.unwrap_or(0));
    let columns = || Columns::new(fields.clone(), get.embedding_encoding);
    let opened = match found {
        Found::Empty(_) => return Ok(columns()),
        Found::Open(opened) => opened,
    };
    let _turn = app.turn().await?;
    read(app, &opened, at, |reader| async move {
        let mut columns = columns();
        match ids {
            Some(ids) => {
                let mut all = named(&reader, ids, filter.as_ref(), include).await?;
                all.drain(..offset.min(all.len()));
                all.truncate(limit.unwrap_or(usize::MAX));
                named::append(&reader, all, include, &mut columns).await?;
            }
            None => {
                let find = Find { filter: filter.clone(), limit, offset, include, ..Find::all() };
                let mut entries = reader.find(&find).await?;
                while let Some(entry) = entries.try_next().await? {
                    columns.push(entry).await?;
                }
            }
        }
        Ok(columns)
    })
    .await
}

pub(super) async fn query(
    State(app): State<App>,
    Path((tenant, database, collection)): At,
    Body(nearest): Body<Nearest>,
) -> Answer<Columns> {
    query_at(&app, found(&app, &tenant, &database, &collection).await?, nearest, &reader::At::Latest).await
}

pub(super) async fn query_at(app: &App, found: Found, nearest: Nearest, at: &reader::At) -> Answer<Columns> {
    let filter = filter(nearest.r#where.as_ref(), nearest.where_document.as_ref())?;
    let fields = nearest.include.unwrap_or_else(|| vec![Field::Metadatas, Field::Documents, Field::Distances]);
    let (wanted, ids) = (nearest.n_results.unwrap_or(10), &nearest.ids);
    let encoding = nearest.embedding_encoding;
    let opened = match found {
        Found::Empty(_) => return Ok(many::nothing(nearest.query_embeddings.len(), fields, encoding)),
        Found::Open(opened) => opened,
    };
    for Embedding(vector) in &nearest.query_embeddings {
        same_dimension(opened.dimension(), u32::try_from(vector.len()).unwrap_or(u32::MAX))?;
    }
    if wanted == 0 {
        return Ok(many::nothing(nearest.query_embeddings.len(), fields, encoding));
    }
    let include = include(&fields);
    let query = |Embedding(vector): Embedding| {
        let query = Query::new(vector, wanted.min(MAX_K)).include(include);
        match &filter {
            Some(filter) => query.filter(filter.clone()),
            None => query,
        }
    };
    let queries: Vec<Query> = nearest.query_embeddings.into_iter().map(query).collect();
    let _turn = app.turn().await?;
    if *at == reader::At::Latest && ids.is_none() && many::are_few(queries.len().saturating_mul(wanted), include) {
        let hits = opened.search(queries).await.map_err(|error| app.pool().failed(&opened, error))?;
        return Ok(many::few(hits, fields, encoding).await?);
    }
    let (queries, fields) = (&queries, &fields);
    let answer = read(app, &opened, at, |reader| async move {
        if wanted > MAX_K || queries.len().saturating_mul(wanted) > MAX_HITS {
            let most = usize::try_from(reader.count().await?).unwrap_or(usize::MAX).min(wanted);
            if most > MAX_K || queries.len().saturating_mul(most) > MAX_HITS {
                return Ok(None);
            }
        }
        let answer = match ids {
            Some(ids) => many::nearest_among(&reader, ids, queries, include, fields.clone(), encoding).await?,
            None => many::nearest(&reader, queries, fields.clone(), encoding).await?,
        };
        Ok(Some(answer))
    })
    .await?;
    answer.ok_or_else(|| {
        ApiError::invalid(format!(
            "`n_results` is {wanted}; a query finds at most {MAX_K} records, and a call {MAX_HITS}; ask for fewer"
        ))
    })
}

/// Reads the state of a collection that `at` names.
async fn read<T, F: Future<Output = Result<T>>>(
    app: &App,
    opened: &Opened,
    at: &reader::At,
    read: impl Fn(Reader) -> F,
) -> Answer<T> {
    opened.read_at(at, read).await.map_err(|error| match at {
        reader::At::Latest => app.pool().failed(opened, error),
        // The version or pin may be what is missing.
        _ => error.into(),
    })
}
