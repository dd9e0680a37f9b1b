//! The collections that malformed requests aim at, and the state that they must not change.

use serde_json::{Value, json};

use super::wire::Wire;
use crate::api::COLLECTIONS;

/// Records of the collection.
const RECORDS: usize = 12;

/// A collection with records, and an empty one.
pub(crate) struct Victim {
    /// The path of the collection with records.
    pub(crate) path: String,
    /// The path of the empty one.
    pub(crate) empty: String,
}

impl Victim {
    /// Finds the collections. Makes them where a request that was accepted took them away.
    pub(crate) fn made(wire: &mut Wire) -> Self {
        let mut made = |name: &str| {
            let made = wire.good("POST", COLLECTIONS, &json!({ "name": name, "get_or_create": true }));
            format!("{COLLECTIONS}/{}", made["id"].as_str().unwrap())
        };
        let (path, empty) = (made("victim"), made("empty"));
        if wire.good("GET", &format!("{path}/count"), &Value::Null) == json!(0) {
            let ids: Vec<String> = (0..RECORDS).map(|n| format!("id-{n}")).collect();
            let embeddings: Vec<Value> = (0..RECORDS).map(|n| json!([n, 1])).collect();
            let metadatas: Vec<Value> = (0..RECORDS).map(|n| json!({ "n": n, "tag": "kept" })).collect();
            let documents: Vec<String> = (0..RECORDS).map(|n| format!("document {n}")).collect();
            let records =
                json!({ "ids": ids, "embeddings": embeddings, "metadatas": metadatas, "documents": documents });
            // A client may have fixed another dimension before it deleted all records.
            let (status, _) = wire.call("POST", &format!("{path}/add"), &records);
            if status != 201 {
                wire.good("DELETE", &format!("{COLLECTIONS}/victim"), &Value::Null);
                return Self::made(wire);
            }
        }
        Self { path, empty }
    }

    /// All that clients can see: databases, collections, and the records.
    pub(crate) fn state(&self, wire: &mut Wire) -> String {
        let databases = wire.good("GET", "/api/v2/tenants/default_tenant/databases", &Value::Null);
        let collections = wire.good("GET", COLLECTIONS, &Value::Null);
        let all = json!({ "include": ["documents", "metadatas", "embeddings", "uris"] });
        let records = [&self.path, &self.empty].map(|path| wire.good("POST", &format!("{path}/get"), &all).to_string());
        format!("{databases}\n{collections}\n{}", records.join("\n"))
    }
}
