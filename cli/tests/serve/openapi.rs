//! The OpenAPI document.

use std::process::Command;

use deltafold_testing::venv;
use serde_json::{Value, json};

use crate::api::Api;

/// The validator and its dependencies, all pinned.
const REQUIREMENTS: &str = include_str!("openapi-requirements.txt");

#[tokio::test]
async fn the_openapi_document_is_valid() {
    let document = Api::new().await.ok("GET", "/openapi.json", Value::Null).await;
    let python = venv::installed("openapi", REQUIREMENTS).join("bin/python");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let told = venv::run(Command::new(python).args(["-m", "openapi_spec_validator"]).arg(file));
    assert!(told.contains("OK"), "{told}");
}

/// Routes are added only together with their description. This checks the other direction: each
/// call of the document reaches a handler.
#[tokio::test]
async fn every_call_of_the_document_is_there() {
    let api = Api::new().await;
    let document = api.ok("GET", "/openapi.json", Value::Null).await;
    let paths = document["paths"].as_object().unwrap();
    for known in ["/", "/metrics", "/openapi.json", "/api/deltafold/server", "/api/v2/heartbeat"] {
        assert!(paths.contains_key(known), "{known}");
    }
    let mut calls = 0;
    for (path, operations) in paths {
        for method in operations.as_object().unwrap().keys() {
            calls += 1;
            let answer = api.call(&method.to_uppercase(), &path.replace(['{', '}'], ""), &json!({})).await;
            let message = answer.body["message"].as_str().unwrap_or_default();
            assert_ne!(answer.status, 405, "{method} {path}");
            assert!(!message.contains("there is no such call"), "{method} {path}");
        }
    }
    assert!(calls > 45, "{calls}");
}

#[tokio::test]
async fn bodies_have_schemas_with_their_fields() {
    let document = Api::new().await.ok("GET", "/openapi.json", Value::Null).await;
    let add = "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/add";
    let add = &document["paths"][add]["post"];
    assert_eq!(add["requestBody"]["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/Batch");
    assert_eq!(add["parameters"].as_array().unwrap().len(), 3);
    let batch = &document["components"]["schemas"]["Batch"];
    assert_eq!(batch["required"], json!(["ids"]));
    assert!(batch["properties"]["embeddings"].is_object());
    assert_eq!(document["paths"]["/healthz"]["get"]["security"], json!([]));
    assert_ne!(add["security"], json!([]));
}
