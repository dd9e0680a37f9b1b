//! Registers in a DynamoDB table, objects in a store. For buckets without a conditional replace,
//! and for heads that answer in a few milliseconds.

mod item;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use deltafold_format::limits::{MAX_REGION_NAME, MAX_TABLE_NAME};
use deltafold_format::{HeadPlace, Timestamp};
use futures::stream::{self, StreamExt, TryStreamExt};
use xxhash_rust::xxh3::xxh3_128;

use crate::aws::{self, AwsOptions, Fault, Wire, judge};
use crate::store::{
    Key, Listed, Meter, Object, Outcome, RequestKind, Requests, Response, Staged, Store, StoreError, StoreErrorKind,
    Tag, Unless,
};
use item::{COLLECTION, CONTENT, DIGEST, ItemKey, REGISTER, VERSION, may_be_register, object, parse_tag, tag_of};

/// The number of concurrent deletes.
const DELETES_AT_ONCE: usize = 16;

/// A store with the registers of shards (heads and claims) in a DynamoDB table, and everything else
/// in another store.
///
/// Conditions keep the [contract](crate::store) for registers. An item is created if there is none.
/// It is replaced if it still has the version and the digest that were read. Reads are strongly
/// consistent. Lists show registers where the prefix names their collection; their dates are not
/// kept.
///
/// `docs/s3.md` has the table's definition. A collection keeps the place of its heads, and opening
/// it over another store is an error.
///
/// ```
/// use std::sync::Arc;
/// use deltafold::HeadsInDynamoDb;
/// use deltafold::aws::AwsOptions;
/// use deltafold::format::HeadPlace;
/// use deltafold::store::{Memory, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let objects = Arc::new(Memory::new()); // a bucket in S3, as a rule
/// let options = AwsOptions::default().region("eu-central-1".to_owned());
/// let store = HeadsInDynamoDb::open(objects, "deltafold-heads", &options).await?;
/// let place = HeadPlace::DynamoDb {
///     table: "deltafold-heads".to_owned(),
///     region: "eu-central-1".to_owned(),
/// };
/// assert_eq!(store.heads(), place);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HeadsInDynamoDb {
    objects: Arc<dyn Store>,
    client: Client,
    wire: Wire,
    table: String,
    region: String,
    meter: Meter,
}

impl fmt::Debug for HeadsInDynamoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadsInDynamoDb").field("objects", &self.objects).field("table", &self.table).finish()
    }
}

impl HeadsInDynamoDb {
    /// The objects of `objects`, with their registers in `table`. Makes no request.
    ///
    /// # Errors
    ///
    /// The name of the table or its region is empty or too long, no region is set, or the
    /// certificates to trust cannot be used.
    pub async fn open(objects: Arc<dyn Store>, table: &str, options: &AwsOptions) -> Result<Self, StoreError> {
        let (sdk, wire) = aws::connect_by(table, options).await?;
        let region = sdk.region().map(ToString::to_string).unwrap_or_default();
        let fits = (1..=MAX_TABLE_NAME).contains(&table.len()) && (1..=MAX_REGION_NAME).contains(&region.len());
        if !fits {
            let reason = format!("a table's name has 1 to {MAX_TABLE_NAME} bytes, a region's 1 to {MAX_REGION_NAME}");
            return Err(StoreError::new(StoreErrorKind::Permanent, "use", table, reason));
        }
        let (client, table, meter) = (Client::new(&sdk), table.to_owned(), Meter::default());
        Ok(Self { objects, client, wire, table, region, meter })
    }

    /// The item of the register with this key; `None` where the key names no register.
    fn item_key(&self, key: &Key) -> Option<ItemKey> {
        let (collection, register) = key.as_str().split_once('/')?;
        let (_, name) = register.split_once('/')?;
        matches!(name, "head" | "claim").then(|| self.item_key_of(collection, register))
    }

    fn item_key_of(&self, collection: &str, register: &str) -> ItemKey {
        let collection = format!("{}/{collection}", self.objects.location());
        ItemKey { collection, register: register.to_owned() }
    }

    fn failed(&self, verb: &'static str, key: impl fmt::Display, fault: Fault) -> StoreError {
        let (kind, reason) = match fault {
            Fault::Impossible(reason) | Fault::Astray(reason) => (StoreErrorKind::Permanent, reason),
            Fault::Unsupported(reason) => (StoreErrorKind::Unsupported, reason),
            Fault::Conflict => return StoreError::conflict(verb, key),
            Fault::Lost(reason) | Fault::Rejected(reason) => (StoreErrorKind::Transient, reason),
            fault => (StoreErrorKind::Permanent, format!("an unexpected answer: {fault:?}")),
        };
        let reason = format!("{reason} (DynamoDB table `{}` in {})", self.table, self.region);
        StoreError::new(kind, verb, key, reason)
    }

    async fn read(&self, key: &Key, item_key: ItemKey) -> Result<Option<Object>, StoreError> {
        let get = async {
            let request = self.client.get_item().table_name(&self.table).set_key(Some(item_key.item()));
            let output = request.consistent_read(true).send().await;
            let output = output.map_err(|error| self.failed("read", key, judge(&error)))?;
            output.item.map(|item| object(key, &item)).transpose()
        };
        self.meter.request(RequestKind::RegisterRead, key, 0, get).await
    }

    /// Writes an item: a new one, or over the one that has this tag.
    async fn write(
        &self,
        key: &Key,
        item_key: ItemKey,
        over: Option<&Tag>,
        chunks: &[Bytes],
    ) -> Result<Outcome, StoreError> {
        let verb = if over.is_some() { "replace" } else { "create" };
        let content = chunks.concat();
        let bytes = content.len() as u64;
        let put = async {
            let Ok(before) = over.map(parse_tag).transpose() else { return Ok(Outcome::Refused) };
            let version = before.map_or(0, |(version, _)| version + 1);
            let digest = format!("{:032x}", xxh3_128(&content));
            let tag = tag_of(version, &digest);
            let mut item = item_key.item();
            item.insert(VERSION.to_owned(), AttributeValue::N(version.to_string()));
            item.insert(DIGEST.to_owned(), AttributeValue::S(digest));
            item.insert(CONTENT.to_owned(), AttributeValue::B(Blob::new(content)));
            let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
            let request = match before {
                None => request
                    .condition_expression("attribute_not_exists(#collection)")
                    .expression_attribute_names("#collection", COLLECTION),
                Some((version, digest)) => request
                    .condition_expression("#version = :version AND #digest = :digest")
                    .expression_attribute_names("#version", VERSION)
                    .expression_attribute_names("#digest", DIGEST)
                    .expression_attribute_values(":version", AttributeValue::N(version.to_string()))
                    .expression_attribute_values(":digest", AttributeValue::S(digest.to_owned())),
            };
            match request.send().await.map_err(|error| judge(&error)) {
                Ok(_) => Ok(Outcome::Done(tag)),
                Err(Fault::Refused) => Ok(Outcome::Refused),
                Err(fault @ (Fault::Lost(_) | Fault::Astray(_))) => Ok(Outcome::Unknown(self.failed(verb, key, fault))),
                Err(fault) => Err(self.failed(verb, key, fault)),
            }
        };
        self.meter.request(RequestKind::RegisterWrite, key, bytes, put).await
    }

    async fn remove(&self, key: &Key, item_key: ItemKey) -> Result<(), StoreError> {
        let delete = async {
            let request = self.client.delete_item().table_name(&self.table).set_key(Some(item_key.item()));
            request.send().await.map(drop).map_err(|error| self.failed("delete", key, judge(&error)))
        };
        self.meter.request(RequestKind::RegisterWrite, key, 0, delete).await
    }

    /// The registers whose keys begin with `prefix`.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let Some((collection, register)) = prefix.split_once('/').filter(|(_, register)| may_be_register(register))
        else {
            return Ok(Vec::new());
        };
        let mut listed = Vec::new();
        let mut from: Option<HashMap<String, AttributeValue>> = None;
        loop {
            let query = async {
                let item_key = self.item_key_of(collection, register);
                let request = self.client.query().table_name(&self.table).consistent_read(true);
                let request = request.expression_attribute_names("#collection", COLLECTION);
                let request =
                    request.expression_attribute_values(":collection", AttributeValue::S(item_key.collection));
                let request = if register.is_empty() {
                    request.key_condition_expression("#collection = :collection")
                } else {
                    request
                        .key_condition_expression("#collection = :collection AND begins_with(#register, :register)")
                        .expression_attribute_names("#register", REGISTER)
                        .expression_attribute_values(":register", AttributeValue::S(item_key.register))
                };
                let output = request.set_exclusive_start_key(from.clone()).send().await;
                output.map_err(|error| self.failed("list", prefix, judge(&error)))
            };
            let output =
                self.meter.request_with(RequestKind::RegisterList, prefix, 0, query, |_| (Response::Done, 0)).await?;
            for item in output.items() {
                let register = item.get(REGISTER).and_then(|register| register.as_s().ok());
                let key = register.and_then(|register| Key::new(format!("{collection}/{register}")));
                if let Some(key) = key.filter(|key| self.item_key(key).is_some()) {
                    let bytes = object(&key, item)?.bytes.len() as u64;
                    listed.push(Listed { key, bytes, modified: Timestamp::from_millis(0) });
                }
            }
            from = output.last_evaluated_key;
            if from.is_none() {
                return Ok(listed);
            }
        }
    }
}

#[async_trait]
impl Store for HeadsInDynamoDb {
    fn location(&self) -> String {
        self.objects.location()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        match self.item_key(key) {
            Some(item_key) => self.read(key, item_key).await,
            None => self.objects.get(key).await,
        }
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(item_key) = self.item_key(key) else { return self.objects.get_range(key, start, end).await };
        let object = self.read(key, item_key).await?;
        Ok(object.map(|object| {
            let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(object.bytes.len());
            object.bytes.slice(within(start)..within(end).max(within(start)))
        }))
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        let Some(item_key) = self.item_key(key) else { return self.objects.get_unless(key, tag).await };
        // DynamoDB has no conditional read; an item is a few hundred bytes.
        Ok(match self.read(key, item_key).await? {
            None => Unless::Absent,
            Some(object) if object.tag == *tag => Unless::Unchanged,
            Some(object) => Unless::Changed(object),
        })
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        match self.item_key(key) {
            Some(item_key) => self.write(key, item_key, None, &chunks).await,
            None => self.objects.create(key, chunks).await,
        }
    }

    async fn stage(&self, key: &Key, chunks: &[Bytes]) -> Result<Option<Box<dyn Staged>>, StoreError> {
        match self.item_key(key) {
            Some(_) => Ok(None),
            None => self.objects.stage(key, chunks).await,
        }
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        match self.item_key(key) {
            Some(item_key) => self.write(key, item_key, Some(tag), &chunks).await,
            None => self.objects.replace(key, tag, chunks).await,
        }
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let registers = self.list(prefix).await?;
        let mut all = self.objects.list_after(prefix, after, limit).await?;
        all.extend(registers.into_iter().filter(|listed| after.is_none_or(|after| listed.key > *after)));
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all.truncate(limit);
        Ok(all)
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        let (registers, objects): (Vec<Key>, Vec<Key>) =
            keys.iter().cloned().partition(|key| self.item_key(key).is_some());
        let mut removed = Vec::with_capacity(registers.len());
        for key in &registers {
            removed.extend(self.item_key(key).map(|item_key| self.remove(key, item_key)));
        }
        stream::iter(removed).buffer_unordered(DELETES_AT_ONCE).try_for_each(|()| async { Ok(()) }).await?;
        if objects.is_empty() { Ok(()) } else { self.objects.delete(&objects).await }
    }

    async fn settle(&self, key: &Key) -> Result<(), StoreError> {
        // A table shows only durable items.
        if self.item_key(key).is_some() { Ok(()) } else { self.objects.settle(key).await }
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.objects.now().await
    }

    fn requests(&self) -> Requests {
        let mut requests = self.objects.requests();
        requests += self.meter.requests();
        requests
    }

    fn heads(&self) -> HeadPlace {
        HeadPlace::DynamoDb { table: self.table.clone(), region: self.region.clone() }
    }

    fn uncached(&self) -> Option<Arc<dyn Store>> {
        let objects = self.objects.uncached()?;
        Some(Arc::new(Self { objects, ..self.clone() }))
    }

    fn maps_objects(&self) -> bool {
        self.objects.maps_objects()
    }

    fn proxies(&self) -> Vec<String> {
        self.objects.proxies().into_iter().chain(self.wire.proxies()).collect()
    }

    fn is_to_be_probed(&self) -> bool {
        self.objects.is_to_be_probed()
    }

    async fn abort_uploads(&self, prefix: &str, before: Timestamp, dry_run: bool) -> Result<u64, StoreError> {
        self.objects.abort_uploads(prefix, before, dry_run).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    #[tokio::test]
    async fn names_that_dynamodb_has_not_are_refused() {
        let (longest, region) = ("t".repeat(MAX_TABLE_NAME), "r".repeat(MAX_REGION_NAME));
        let open = async |table: &str, region: &str| {
            let options = AwsOptions { region: Some(region.to_owned()), ..AwsOptions::default() };
            HeadsInDynamoDb::open(Arc::new(Memory::new()), table, &options).await.map(drop)
        };
        open(&longest, &region).await.unwrap();
        for (table, region) in [("", "r"), (&format!("{longest}t"), "r"), ("t", &format!("{region}r"))] {
            let error = open(table, region).await.unwrap_err().to_string();
            assert!(error.contains("a table's name has 1 to 255 bytes, a region's 1 to 64"), "{error}");
        }
    }
}
