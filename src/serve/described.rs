//! Routes with their description: a router, and the OpenAPI document of all its calls.
//!
//! [`Described`] is the only way to add a route, so the document has every route.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::header;
use axum::routing::{MethodFilter, get, on};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::app::App;

/// The path of the document.
const DOCUMENT: &str = "/openapi.json";

/// The methods that calls have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

type Make = fn(&mut SchemaGenerator) -> Schema;

/// The description of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    summary: &'static str,
    status: u16,
    media: &'static str,
    query: Option<Make>,
    body: Option<Make>,
    answer: Option<Make>,
}

/// A call with this summary, which answers JSON with status 200.
pub(super) fn call(summary: &'static str) -> Call {
    Call { summary, status: 200, media: "application/json", query: None, body: None, answer: None }
}

impl Call {
    /// The fields of its query string.
    pub(super) fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(T::json_schema), ..self }
    }

    /// Its body, in JSON.
    pub(super) fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some(schema_of::<T>), ..self }
    }

    /// Its answer.
    pub(super) fn answer<T: JsonSchema>(self) -> Self {
        Self { answer: Some(schema_of::<T>), ..self }
    }

    /// The status of success.
    pub(super) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The media type of the answer.
    pub(super) fn media(self, media: &'static str) -> Self {
        Self { media, ..self }
    }
}

fn schema_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// An error, as every call answers it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
struct Refusal {
    /// The name of the error, by which clients choose the class of an exception.
    error: String,
    /// A sentence with the reason and the remedy.
    message: String,
}

/// Routes, and their document.
#[derive(Debug)]
pub(super) struct Described {
    open: Router<App>,
    guarded: Router<App>,
    paths: BTreeMap<String, Map<String, Value>>,
    schemas: SchemaGenerator,
}

impl Described {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self { open: Router::new(), guarded: Router::new(), paths: BTreeMap::new(), schemas: settings.into_generator() }
    }

    /// Adds a call that needs no token.
    pub(super) fn open<H, T>(mut self, method: Method, path: &str, handler: H, call: Call) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.describe(method, path, &call, false);
        self.open = self.open.route(path, on(method.filter(), handler));
        self
    }

    /// Adds a call that the guard lets pass.
    pub(super) fn guarded<H, T>(mut self, method: Method, path: &str, handler: H, call: Call) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.describe(method, path, &call, true);
        self.guarded = self.guarded.route(path, on(method.filter(), handler));
        self
    }

    fn describe(&mut self, method: Method, path: &str, call: &Call, guarded: bool) {
        let mut parameters: Vec<Value> = names(path)
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        if let Some(query) = call.query {
            parameters.extend(fields(&query(&mut self.schemas)));
        }
        let refusal = schema_of::<Refusal>(&mut self.schemas);
        let mut success = json!({ "description": "Success" });
        let schema = call.answer.map(|answer| answer(&mut self.schemas).to_value());
        success["content"] = json!({ call.media: { "schema": schema.unwrap_or_else(|| json!({})) } });
        let mut operation = json!({
            "operationId": operation_id(method, path),
            "summary": call.summary,
            "tags": [tag(path)],
            "parameters": parameters,
            "responses": {
                call.status.to_string(): success,
                "default": {
                    "description": "The call was refused or failed",
                    "content": { "application/json": { "schema": refusal } },
                },
            },
            "security": if guarded { json!([{ "bearer": [] }, { "basic": [] }, { "token": [] }]) } else { json!([]) },
        });
        if let Some(body) = call.body {
            let schema = body(&mut self.schemas);
            operation["requestBody"] =
                json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        }
        self.paths.entry(path.to_owned()).or_default().insert(method.name().to_owned(), operation);
    }

    /// The routers of open and of guarded calls. The first serves the document.
    pub(super) fn finish(mut self) -> (Router<App>, Router<App>) {
        self.describe(Method::Get, DOCUMENT, &call("This document"), false);
        let schemas = self.schemas.take_definitions(true);
        let document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Deltafold",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Chroma's HTTP API, version 2, and calls of Deltafold's own below `/api/deltafold`.",
                "license": { "name": "MIT OR Apache-2.0" },
            },
            "paths": self.paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "bearer": { "type": "http", "scheme": "bearer" },
                    "basic": { "type": "http", "scheme": "basic" },
                    "token": { "type": "apiKey", "in": "header", "name": "X-Chroma-Token" },
                },
            },
        });
        let text: Arc<str> = document.to_string().into();
        let serve = move || {
            let text = text.clone();
            async move { ([(header::CONTENT_TYPE, "application/json")], text.to_string()) }
        };
        (self.open.route(DOCUMENT, get(serve)), self.guarded)
    }
}

/// The names of a path's parameters.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// The fields of a query string, from the schema of the type that reads it.
fn fields(schema: &Schema) -> Vec<Value> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let field = |(name, schema): (&String, &Value)| {
        let description = schema.get("description").cloned().unwrap_or_else(|| json!(""));
        json!({ "name": name, "in": "query", "description": description, "schema": schema })
    };
    properties.iter().map(field).collect()
}

/// A name for generated clients: the method and the words of the path.
fn operation_id(method: Method, path: &str) -> String {
    let words = path.split(['/', '{', '}', '-', '_', '.']).filter(|word| !word.is_empty());
    words.fold(method.name().to_owned(), |id, word| format!("{id}_{word}"))
}

fn tag(path: &str) -> &'static str {
    match path {
        path if path.starts_with("/api/v2") => "Chroma",
        path if path.starts_with("/api/deltafold") => "Deltafold",
        _ => "Operation",
    }
}

#[cfg(test)]
mod tests {
    /// A route that bypasses [`super::Described`] would be missing from the document.
    #[test]
    fn only_described_routes_are_added() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/routes");
        let mut folders = vec![folder];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files += 1;
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert!(!text.contains(".route("), "{}: add the route through `Described`", path.display());
                }
            }
        }
        assert!(files > 5);
    }
}
