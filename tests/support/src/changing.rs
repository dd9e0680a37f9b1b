//! A table of ministack with a stream, in the JSON of DynamoDB: the form of exports and of records
//! of streams, without a client of the SDK in between.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ministack::call;

/// The key attribute of every item.
pub const KEY: &str = "pk";

/// A table whose stream shows both images.
#[derive(Debug, Clone)]
pub struct Changing {
    endpoint: String,
    name: String,
}

impl Changing {
    /// A new table without a stream.
    pub fn create(endpoint: &str, name: &str) -> Self {
        let table = Self { endpoint: endpoint.to_owned(), name: name.to_owned() };
        table.call(
            "CreateTable",
            &json!({
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{ "AttributeName": KEY, "AttributeType": "S" }],
                "KeySchema": [{ "AttributeName": KEY, "KeyType": "HASH" }],
            }),
        );
        table
    }

    /// Puts items, 25 a request.
    pub fn fill(&self, items: &[Value]) {
        for some in items.chunks(25) {
            let puts: Vec<Value> = some.iter().map(|item| json!({ "PutRequest": { "Item": item } })).collect();
            let answer = call(
                &self.endpoint,
                "DynamoDB_20120810.BatchWriteItem",
                &json!({ "RequestItems": { self.name.as_str(): puts } }),
            );
            assert_eq!(answer["UnprocessedItems"], json!({}), "{answer}");
        }
    }

    /// Switches the stream on. Returns its iterator, at its beginning.
    pub fn stream(&self) -> Stream {
        let answer = self.call(
            "UpdateTable",
            &json!({ "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES" } }),
        );
        let arn = &answer["TableDescription"]["LatestStreamArn"];
        let stream =
            |action: &str, body: Value| call(&self.endpoint, &format!("DynamoDBStreams_20120810.{action}"), &body);
        let described = stream("DescribeStream", json!({ "StreamArn": arn }));
        let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
        let begin = json!({ "StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
        let iterator = stream("GetShardIterator", begin)["ShardIterator"].clone();
        Stream { endpoint: self.endpoint.clone(), iterator }
    }

    pub fn put(&self, item: &Value) {
        self.call("PutItem", &json!({ "Item": item }));
    }

    /// Sets one attribute of an item.
    pub fn set(&self, key: &str, attribute: &str, value: &Value) {
        self.call(
            "UpdateItem",
            &json!({
                "Key": { KEY: { "S": key } }, "UpdateExpression": "SET #a = :v",
                "ExpressionAttributeNames": { "#a": attribute }, "ExpressionAttributeValues": { ":v": value },
            }),
        );
    }

    pub fn delete(&self, key: &str) {
        self.call("DeleteItem", &json!({ "Key": { KEY: { "S": key } } }));
    }

    /// All items, by their keys.
    pub fn scan(&self) -> BTreeMap<String, Value> {
        let (mut found, mut from) = (BTreeMap::new(), None);
        loop {
            let mut asked = json!({ "ConsistentRead": true });
            if let Some(from) = from.take() {
                asked["ExclusiveStartKey"] = from;
            }
            let mut page = self.call("Scan", &asked);
            for item in page["Items"].as_array().unwrap() {
                found.insert(item[KEY]["S"].as_str().unwrap().to_owned(), item.clone());
            }
            match page["LastEvaluatedKey"].take() {
                Value::Null => return found,
                last => from = Some(last),
            }
        }
    }

    fn call(&self, action: &str, body: &Value) -> Value {
        let mut body = body.clone();
        body["TableName"] = json!(self.name);
        call(&self.endpoint, &format!("DynamoDB_20120810.{action}"), &body)
    }
}

/// A place in the stream of a table.
#[derive(Debug)]
pub struct Stream {
    endpoint: String,
    iterator: Value,
}

impl Stream {
    /// The next records, at most 1,000; none at the end.
    pub fn read_next(&mut self) -> Vec<Value> {
        let asked = json!({ "ShardIterator": self.iterator });
        let mut answer = call(&self.endpoint, "DynamoDBStreams_20120810.GetRecords", &asked);
        self.iterator = answer["NextShardIterator"].take();
        match answer["Records"].take() {
            Value::Array(records) => records,
            other => panic!("no records: {other}"),
        }
    }
}
