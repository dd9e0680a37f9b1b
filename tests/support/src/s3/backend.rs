//! Buckets in memory. Every operation is one step under one lock. The step judges the conditions,
//! as S3 does when a write commits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use s3s::dto::{self, ETag, ETagCondition, StreamingBlob, Timestamp};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

/// The content of a server's store. Clones are one store.
#[derive(Clone, Default)]
pub struct Backend(Arc<Inner>);

#[derive(Default)]
struct Inner {
    buckets: Mutex<BTreeMap<String, Bucket>>,
    numbers: AtomicU64,
    /// Reads of objects, and the bytes of their answers.
    reads: AtomicU64,
    sent: AtomicU64,
    quirks: Mutex<BTreeSet<Quirk>>,
    /// The state before the last write to each path.
    before: Mutex<BTreeMap<String, Option<Stored>>>,
}

/// A difference of a store from S3. Some differences cost, most lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// Accepts `If-None-Match: *` of a write and ignores it.
    IgnoresCreateConditions,
    /// The same, for the request that completes an upload.
    IgnoresUploadConditions,
    /// Accepts `If-Match` of a write and ignores it.
    IgnoresReplaceConditions,
    /// Creates the object of a replace if it is missing.
    ReplacesWhatIsNotThere,
    /// Answers 501 to a write with `If-Match`.
    LacksReplace,
    /// Judges conditions when a request comes, not when it commits.
    JudgesEarly,
    /// Sends an object though it has the tag of `If-None-Match`.
    SendsUnchanged,
    /// Answers 304 to every read with `If-None-Match`.
    SaysUnchanged,
    /// Ignores `If-Match` of a read.
    IgnoresReadConditions,
    /// Lists the state before the last write to each name.
    StaleLists,
    /// Lists in the opposite order.
    UnorderedLists,
    /// Reads the state before the last write.
    StaleReads,
    /// Accepts deletes and ignores them.
    KeepsDeleted,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<(String, String), Upload>,
}

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    tag: String,
    modified: SystemTime,
    metadata: Option<dto::Metadata>,
}

struct Upload {
    begun: SystemTime,
    metadata: Option<dto::Metadata>,
    parts: BTreeMap<i32, (Bytes, String)>,
}

/// S3 dates objects to the second.
fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs())
}

fn checked(bytes: &Bytes, said: Option<&str>) -> S3Result<()> {
    let found = BASE64_STANDARD.encode(crc32fast::hash(bytes).to_be_bytes());
    if said.is_some_and(|said| said != found) {
        return Err(s3_error!(BadDigest, "the bytes have another CRC32 than the request says"));
    }
    Ok(())
}

async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(mut body) = body else { return Ok(Bytes::new()) };
    let (mut first, mut all) = (None, BytesMut::new());
    while let Some(chunk) = body.try_next().await.map_err(|error| s3_error!(IncompleteBody, "{error}"))? {
        match first.take() {
            None if all.is_empty() => first = Some(chunk),
            before => {
                all.extend_from_slice(&before.unwrap_or_default());
                all.extend_from_slice(&chunk);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

impl Backend {
    pub fn create_bucket(&self, name: &str) {
        self.0.buckets.lock().unwrap().entry(name.to_owned()).or_default();
    }

    /// Reads of objects since the last call, and the bytes of their answers.
    pub fn take_reads(&self) -> (u64, u64) {
        (self.0.reads.swap(0, Ordering::Relaxed), self.0.sent.swap(0, Ordering::Relaxed))
    }

    /// From now on the store differs from S3 in this way.
    pub fn has(&self, quirk: Quirk) {
        self.0.quirks.lock().unwrap().insert(quirk);
    }

    fn is(&self, quirk: Quirk) -> bool {
        self.0.quirks.lock().unwrap().contains(&quirk)
    }

    /// From now on conditions are accepted and ignored.
    pub fn ignore_conditions(&self) {
        for quirk in [Quirk::IgnoresCreateConditions, Quirk::IgnoresUploadConditions, Quirk::IgnoresReplaceConditions] {
            self.has(quirk);
        }
    }

    fn judge(
        &self,
        held: Option<&Stored>,
        if_match: Option<&ETagCondition>,
        if_none_match: Option<&ETagCondition>,
    ) -> S3Result<()> {
        if !self.is(Quirk::IgnoresReplaceConditions) {
            match (if_match.and_then(ETagCondition::as_etag), held) {
                (Some(_), None) if !self.is(Quirk::ReplacesWhatIsNotThere) => {
                    return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
                }
                (Some(tag), Some(held)) if tag.value() != held.tag => return Err(s3_error!(PreconditionFailed)),
                _ => {}
            }
        }
        if if_none_match.is_some_and(ETagCondition::is_any) && held.is_some() {
            return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
        }
        Ok(())
    }

    /// Changes the bytes of an object in place, and keeps its metadata: bit rot.
    pub fn rot(&self, bucket: &str, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut buckets = self.0.buckets.lock().unwrap();
        let stored = buckets.get_mut(bucket).unwrap().objects.get_mut(path).unwrap();
        let mut bytes = stored.bytes.to_vec();
        change(&mut bytes);
        stored.bytes = bytes.into();
    }

    /// The paths of all objects.
    pub fn paths(&self, bucket: &str) -> Vec<String> {
        self.0.buckets.lock().unwrap()[bucket].objects.keys().cloned().collect()
    }

    pub fn uploads(&self, bucket: &str) -> usize {
        self.0.buckets.lock().unwrap()[bucket].uploads.len()
    }

    /// Makes every unfinished upload look a week old.
    pub fn age_uploads(&self, bucket: &str) {
        let mut buckets = self.0.buckets.lock().unwrap();
        for upload in buckets.get_mut(bucket).unwrap().uploads.values_mut() {
            upload.begun -= std::time::Duration::from_secs(7 * 86_400);
        }
    }

    /// Puts a raw object there, as another program might.
    pub fn put(&self, bucket: &str, path: &str, bytes: &[u8]) {
        let stored = self.stored(Bytes::copy_from_slice(bytes), None);
        self.0.buckets.lock().unwrap().get_mut(bucket).unwrap().objects.insert(path.to_owned(), stored);
    }

    pub fn remove(&self, bucket: &str, path: &str) {
        self.0.buckets.lock().unwrap().get_mut(bucket).unwrap().objects.remove(path);
    }

    fn stored(&self, bytes: Bytes, metadata: Option<dto::Metadata>) -> Stored {
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let tag = format!("{number:08x}");
        Stored { bytes, tag, modified: now(), metadata }
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Bucket) -> S3Result<T>) -> S3Result<T> {
        let mut buckets = self.0.buckets.lock().unwrap();
        let bucket =
            buckets.get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))?;
        act(bucket)
    }

    fn commit(
        &self,
        bucket: &mut Bucket,
        key: String,
        stored: Stored,
        if_match: Option<&ETagCondition>,
        if_none_match: Option<&ETagCondition>,
    ) -> S3Result<ETag> {
        let held = bucket.objects.get(&key);
        self.judge(held, if_match, if_none_match)?;
        self.0.before.lock().unwrap().insert(key.clone(), held.cloned());
        let tag = ETag::Strong(stored.tag.clone());
        bucket.objects.insert(key, stored);
        Ok(tag)
    }
}

fn found<'a>(bucket: &'a Bucket, key: &str) -> S3Result<&'a Stored> {
    bucket.objects.get(key).ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
}

fn no_upload() -> s3s::S3Error {
    s3_error!(NoSuchUpload, "The specified multipart upload does not exist.")
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn head_bucket(
        &self,
        request: S3Request<dto::HeadBucketInput>,
    ) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        self.with(&request.input.bucket, |_| Ok(()))?;
        Ok(S3Response::new(dto::HeadBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<dto::PutObjectInput>) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let input = request.input;
        let bytes = whole(input.body).await?;
        checked(&bytes, input.checksum_crc32.as_deref())?;
        let stored = self.stored(bytes, input.metadata);
        if input.if_match.is_some() && self.is(Quirk::LacksReplace) {
            return Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented"
            ));
        }
        let (mut if_match, mut if_none_match) = (input.if_match, input.if_none_match);
        if self.is(Quirk::IgnoresCreateConditions) {
            if_none_match = None;
        }
        if self.is(Quirk::JudgesEarly) {
            self.with(&input.bucket, |bucket| {
                self.judge(bucket.objects.get(&input.key), if_match.as_ref(), if_none_match.as_ref())
            })?;
            (if_match, if_none_match) = (None, None);
            // Other requests are judged meanwhile.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let tag = self.with(&input.bucket, |bucket| {
            self.commit(bucket, input.key, stored, if_match.as_ref(), if_none_match.as_ref())
        })?;
        Ok(S3Response::new(dto::PutObjectOutput { e_tag: Some(tag), ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<dto::GetObjectInput>) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let input = request.input;
        let mut stored = self.with(&input.bucket, |bucket| found(bucket, &input.key).cloned())?;
        if self.is(Quirk::StaleReads)
            && let Some(before) = self.0.before.lock().unwrap().get(&input.key).cloned()
        {
            stored = before.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))?;
        }
        if input.if_none_match.is_some() && self.is(Quirk::SaysUnchanged) {
            return Err(s3_error!(NotModified));
        }
        let same = |condition: &ETagCondition| condition.as_etag().is_some_and(|tag| tag.value() == stored.tag);
        if input.if_none_match.as_ref().is_some_and(same) && !self.is(Quirk::SendsUnchanged) {
            return Err(s3_error!(NotModified));
        }
        if input.if_match.as_ref().is_some_and(|condition| !same(condition)) && !self.is(Quirk::IgnoresReadConditions) {
            return Err(s3_error!(PreconditionFailed));
        }
        let total = stored.bytes.len();
        let (bytes, range) = match input.range {
            None => (stored.bytes.clone(), None),
            Some(range) => {
                let range = range.check(total as u64)?;
                let said = format!("bytes {}-{}/{total}", range.start, range.end - 1);
                (stored.bytes.slice(range.start as usize..range.end as usize), Some(said))
            }
        };
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        self.0.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let mut response = S3Response::new(dto::GetObjectOutput {
            content_length: Some(bytes.len() as i64),
            body: Some(StreamingBlob::from(s3s::Body::from(bytes))),
            content_range: range.clone(),
            e_tag: Some(ETag::Strong(stored.tag)),
            last_modified: Some(Timestamp::from(stored.modified)),
            metadata: stored.metadata,
            ..Default::default()
        });
        response.status = range.map(|_| http::StatusCode::PARTIAL_CONTENT);
        Ok(response)
    }

    async fn head_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        let input = request.input;
        let stored = self.with(&input.bucket, |bucket| found(bucket, &input.key).cloned())?;
        Ok(S3Response::new(dto::HeadObjectOutput {
            content_length: Some(stored.bytes.len() as i64),
            e_tag: Some(ETag::Strong(stored.tag)),
            last_modified: Some(Timestamp::from(stored.modified)),
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        let input = request.input;
        if !self.is(Quirk::KeepsDeleted) {
            self.with(&input.bucket, |bucket| Ok(bucket.objects.remove(&input.key)))?;
        }
        Ok(S3Response::new(dto::DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<dto::DeleteObjectsInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
        let input = request.input;
        if input.delete.objects.len() > 1_000 {
            return Err(s3_error!(MalformedXML));
        }
        self.with(&input.bucket, |bucket| {
            input.delete.objects.iter().for_each(|object| drop(bucket.objects.remove(&object.key)));
            Ok(())
        })?;
        Ok(S3Response::new(dto::DeleteObjectsOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.start_after.clone().unwrap_or_default();
        let limit = input.max_keys.unwrap_or(1_000).clamp(0, 1_000) as usize;
        let mut listed: Vec<dto::Object> = self.with(&input.bucket, |bucket| {
            let objects = bucket.objects.range::<String, _>(&prefix..);
            let objects = objects.take_while(|(key, _)| key.starts_with(&prefix)).filter(|(key, _)| **key > after);
            let before = self.0.before.lock().unwrap();
            let is_shown =
                |key: &str| !self.is(Quirk::StaleLists) || before.get(key).is_none_or(|before| before.is_some());
            let objects = objects.filter(|(key, _)| is_shown(key));
            let objects = objects.take(limit + 1).map(|(key, stored)| dto::Object {
                key: Some(key.clone()),
                size: Some(stored.bytes.len() as i64),
                last_modified: Some(Timestamp::from(stored.modified)),
                e_tag: Some(ETag::Strong(stored.tag.clone())),
                ..Default::default()
            });
            Ok(objects.collect())
        })?;
        let truncated = listed.len() > limit;
        listed.truncate(limit);
        if self.is(Quirk::UnorderedLists) {
            listed.reverse();
        }
        Ok(S3Response::new(dto::ListObjectsV2Output {
            is_truncated: Some(truncated),
            key_count: Some(listed.len() as i32),
            contents: Some(listed),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<dto::CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
        let input = request.input;
        let id = format!("upload-{}", self.0.numbers.fetch_add(1, Ordering::Relaxed));
        let upload = Upload { begun: now(), metadata: input.metadata, parts: BTreeMap::new() };
        self.with(&input.bucket, |bucket| Ok(bucket.uploads.insert((input.key, id.clone()), upload)))?;
        Ok(S3Response::new(dto::CreateMultipartUploadOutput { upload_id: Some(id), ..Default::default() }))
    }

    async fn upload_part(
        &self,
        request: S3Request<dto::UploadPartInput>,
    ) -> S3Result<S3Response<dto::UploadPartOutput>> {
        let input = request.input;
        let bytes = whole(input.body).await?;
        checked(&bytes, input.checksum_crc32.as_deref())?;
        let tag = format!("part-{:08x}", crc32fast::hash(&bytes));
        self.with(&input.bucket, |bucket| {
            let upload = bucket.uploads.get_mut(&(input.key, input.upload_id)).ok_or_else(no_upload)?;
            upload.parts.insert(input.part_number, (bytes, tag.clone()));
            Ok(())
        })?;
        Ok(S3Response::new(dto::UploadPartOutput { e_tag: Some(ETag::Strong(tag)), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
        let input = request.input;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let tag = self.with(&input.bucket, |bucket| {
            let name = (input.key.clone(), input.upload_id);
            let upload = bucket.uploads.get(&name).ok_or_else(no_upload)?;
            let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
            for part in &named {
                let number = part.part_number.unwrap_or_default();
                let Some((bytes, tag)) = upload.parts.get(&number) else { return Err(s3_error!(InvalidPart)) };
                if part.e_tag.as_ref().map(ETag::value) != Some(tag) || !seen.insert(number) {
                    return Err(s3_error!(InvalidPart));
                }
                if bytes.len() < 5 << 20 && seen.len() < named.len() {
                    return Err(s3_error!(EntityTooSmall));
                }
                all.push(bytes.clone());
            }
            let bytes = if let [only] = &all[..] { only.clone() } else { Bytes::from(all.concat()) };
            let stored = self.stored(bytes, upload.metadata.clone());
            let if_none_match = input.if_none_match.filter(|_| !self.is(Quirk::IgnoresUploadConditions));
            let tag = self.commit(bucket, input.key, stored, input.if_match.as_ref(), if_none_match.as_ref())?;
            bucket.uploads.remove(&name);
            Ok(tag)
        })?;
        Ok(S3Response::new(dto::CompleteMultipartUploadOutput { e_tag: Some(tag), ..Default::default() }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<dto::AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
        let input = request.input;
        let gone = self.with(&input.bucket, |bucket| Ok(bucket.uploads.remove(&(input.key, input.upload_id))))?;
        gone.map(|_| S3Response::new(dto::AbortMultipartUploadOutput::default())).ok_or_else(no_upload)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<dto::ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
        let input = request.input;
        let prefix = input.prefix.unwrap_or_default();
        let after = (input.key_marker.unwrap_or_default(), input.upload_id_marker.unwrap_or_default());
        let mut uploads: Vec<dto::MultipartUpload> = self.with(&input.bucket, |bucket| {
            let uploads = bucket.uploads.iter().filter(|(name, _)| name.0.starts_with(&prefix) && **name > after);
            let uploads = uploads.take(3).map(|((key, id), upload)| dto::MultipartUpload {
                key: Some(key.clone()),
                upload_id: Some(id.clone()),
                initiated: Some(Timestamp::from(upload.begun)),
                ..Default::default()
            });
            Ok(uploads.collect())
        })?;
        // Pages of two, so that the tests see paging.
        let truncated = uploads.len() > 2;
        uploads.truncate(2);
        let last = uploads.last().filter(|_| truncated).cloned();
        Ok(S3Response::new(dto::ListMultipartUploadsOutput {
            is_truncated: Some(truncated),
            next_key_marker: last.as_ref().and_then(|last| last.key.clone()),
            next_upload_id_marker: last.and_then(|last| last.upload_id),
            uploads: Some(uploads),
            ..Default::default()
        }))
    }
}
