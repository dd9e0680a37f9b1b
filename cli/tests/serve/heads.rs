//! Collections whose heads lie in a table of DynamoDB.

use std::process::Command;

use deltafold_testing::ministack;
use deltafold_testing::s3::{ACCESS_KEY, SECRET_KEY};
use serde_json::{Value, json};

use crate::api::{COLLECTIONS, send};
use crate::program::{Program, command};

const HEADS: &str = "dynamodb:served-heads@us-east-1";

fn program(store: &str) -> Command {
    let mut command = command(store);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", ministack::endpoint()).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command
}

/// Story: such a collection was listed, and each call on its records answered 400.
#[tokio::test]
async fn a_collection_with_heads_in_a_table_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let create = ["create", "articles", "--dimension", "2", "--heads", HEADS, "--create-table"];
    assert!(program(store).args(create).output().unwrap().status.success());
    let server = Program::start(program(store), &["--fold-segments", "2"]);
    let call = async |method: &str, path: &str, body: Value| {
        let answer = send(server.address, method, path, &body).await.unwrap();
        assert!(answer.status < 300, "{method} {path}: {}", answer.body);
        answer.body
    };
    let named = format!("{COLLECTIONS}/articles");
    let found = call("GET", &named, Value::Null).await;
    let at = format!("{COLLECTIONS}/{}", found["id"].as_str().unwrap());
    for n in 0..5 {
        call("POST", &format!("{at}/add"), json!({ "ids": [n.to_string()], "embeddings": [[n, 1]] })).await;
    }
    assert_eq!(call("GET", &format!("{at}/count"), Value::Null).await, json!(5));
    let nearest = json!({ "query_embeddings": [[3, 1]], "n_results": 1 });
    assert_eq!(call("POST", &format!("{at}/query"), nearest).await["ids"], json!([["3"]]));
    call("DELETE", &named, Value::Null).await;
    // The head in the table went, too, so the name is free.
    assert!(program(store).args(create).output().unwrap().status.success());
}
