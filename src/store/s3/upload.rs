//! Uploads large objects in parts, and sends objects ahead. The last request carries the condition
//! and makes the object; until then no reader sees it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::primitives::{ByteStream, DateTimeFormat};
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::{Buf, Bytes};
use crc32fast::Hasher;
use deltafold_format::Timestamp;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::checksum::{CHECKSUM, base64};
use super::{Fault, Inner, PART_BYTES, PARTS_AT_ONCE, STAGE_BYTES, lost};
use crate::retry;
use crate::store::memory::concat;
use crate::store::{Key, Outcome, RequestKind, Response, Staged, StoreError, StoreErrorKind, Tag, bytes_of};

/// An upload with all its parts sent.
pub(super) struct Upload {
    inner: Arc<Inner>,
    key: Key,
    id: String,
    parts: Vec<CompletedPart>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("key", &self.key).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Upload {
    /// Sends the parts of an object, several at once.
    pub(super) async fn send(inner: &Arc<Inner>, key: &Key, chunks: &[Bytes]) -> Result<Self, StoreError> {
        let parts: Vec<(Vec<Bytes>, Hasher)> = parts_of(chunks).into_iter().map(hashed).collect();
        // The checksum of the whole follows from those of its parts, so no byte is hashed twice.
        let mut whole = Hasher::new();
        parts.iter().for_each(|(_, hasher)| whole.combine(hasher));
        let id = inner.start_upload(key, whole.finalize()).await?;
        let sent = stream::iter(parts.into_iter().zip(1..)).map(|((part, hasher), number)| {
            let (id, checksum) = (&id, hasher.finalize());
            async move {
                let permit = inner.parts.acquire().await;
                let part = retry::transient(|| inner.send_part(key, id, number, &part, checksum)).await;
                drop(permit);
                part
            }
        });
        let sent: Result<Vec<CompletedPart>, StoreError> = sent.buffered(PARTS_AT_ONCE).try_collect().await;
        match sent {
            Ok(parts) => Ok(Self { inner: inner.clone(), key: key.clone(), id, parts }),
            Err(error) => {
                inner.abort_upload(key, &id).await;
                Err(error)
            }
        }
    }

    /// Makes it an object, unless its key has one.
    pub(super) async fn complete(self) -> Result<Outcome, StoreError> {
        let Self { inner, key, id, parts } = self;
        let outcome = inner.complete_upload(&key, &id, parts).await;
        if !matches!(outcome, Ok(Outcome::Done(_) | Outcome::Unknown(_))) {
            // Nothing landed, and without its upload nothing will.
            inner.abort_upload(&key, &id).await;
        }
        match outcome {
            Err(error) if error.is_conflict() => inner.resolve_conflict(&key, None, error).await,
            outcome => outcome,
        }
    }
}

#[async_trait]
impl Staged for Upload {
    async fn create(self: Box<Self>) -> Result<Outcome, StoreError> {
        self.complete().await
    }

    async fn give_up(self: Box<Self>) {
        self.inner.abort_upload(&self.key, &self.id).await;
    }
}

impl Inner {
    /// Sends an object ahead, if two more requests matter little beside its size.
    pub(super) async fn stage(self: &Arc<Self>, key: &Key, chunks: &[Bytes]) -> Result<Option<Upload>, StoreError> {
        if bytes_of(chunks) < STAGE_BYTES {
            return Ok(None);
        }
        Upload::send(self, key, chunks).await.map(Some)
    }

    async fn start_upload(&self, key: &Key, checksum: u32) -> Result<String, StoreError> {
        let start = async {
            let request = self.client.create_multipart_upload().bucket(&self.bucket).key(self.path(key));
            let request = request.checksum_algorithm(ChecksumAlgorithm::Crc32);
            match request.metadata(CHECKSUM, format!("{checksum:08x}")).send().await {
                Ok(output) => output.upload_id.ok_or_else(|| lost("create", key, "the answer names no upload")),
                Err(error) => Err(Self::unread("create", key, self.judge(&error))),
            }
        };
        self.meter.request_with(RequestKind::UploadStart, key, 0, start, |_| (Response::Done, 0)).await
    }

    /// Sends a part. It may be repeated any number of times.
    async fn send_part(
        &self,
        key: &Key,
        id: &str,
        number: i32,
        part: &[Bytes],
        checksum: u32,
    ) -> Result<CompletedPart, StoreError> {
        let checksum = base64(checksum);
        let send = async {
            let request = self.client.upload_part().bucket(&self.bucket).key(self.path(key)).upload_id(id);
            let request =
                request.part_number(number).checksum_crc32(&checksum).checksum_algorithm(ChecksumAlgorithm::Crc32);
            let request = request.body(ByteStream::from(concat(part))).customize();
            let request = if self.sign_bodies { request } else { request.disable_payload_signing() };
            match request.send().await {
                Ok(output) => output.e_tag.ok_or_else(|| lost("create", key, "the answer has no ETag")),
                Err(error) => Err(Self::unread("create", key, self.judge(&error))),
            }
        };
        let bytes = bytes_of(part);
        let tag = self.meter.request_with(RequestKind::UploadPart, key, bytes, send, |_| (Response::Done, 0)).await?;
        Ok(CompletedPart::builder().part_number(number).e_tag(tag).checksum_crc32(checksum).build())
    }

    async fn complete_upload(&self, key: &Key, id: &str, parts: Vec<CompletedPart>) -> Result<Outcome, StoreError> {
        let complete = async {
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
            let request =
                self.client.complete_multipart_upload().bucket(&self.bucket).key(self.path(key)).upload_id(id);
            match request.multipart_upload(parts).if_none_match("*").send().await {
                Ok(output) => Ok(match output.e_tag {
                    Some(tag) => Outcome::Done(Tag::new(tag)),
                    // The service may answer 200 first and report the failure later.
                    None => Outcome::Unknown(lost("create", key, "the answer has no ETag")),
                }),
                Err(error) => match self.judge(&error) {
                    // The upload is gone: it was given up, or an earlier attempt completed it.
                    Fault::Absent => Ok(Outcome::Unknown(lost("create", key, "the upload is gone"))),
                    fault => Self::unwritten("create", key, fault),
                },
            }
        };
        self.meter.request(RequestKind::UploadComplete, key, 0, complete).await
    }

    /// Gives up an upload. Where no answer comes, sweep gives up the remains.
    async fn abort_upload(&self, key: &Key, id: &str) {
        if let Err(error) = self.abort_path(&self.path(key), id).await {
            tracing::debug!(%error, "an upload is left for sweep");
        }
    }

    async fn abort_path(&self, path: &str, id: &str) -> Result<(), StoreError> {
        let abort = async {
            let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(path).upload_id(id);
            match request.send().await.map_err(|error| self.judge(&error)) {
                Ok(_) | Err(Fault::Absent) => Ok(()),
                Err(fault) => Err(Self::unread("give up the upload of", path, fault)),
            }
        };
        self.meter.request(RequestKind::UploadAbort, path, 0, abort).await
    }

    pub(super) async fn abort_uploads(
        &self,
        prefix: &str,
        before: Timestamp,
        dry_run: bool,
    ) -> Result<u64, StoreError> {
        let (mut after, mut found) = (None, 0);
        loop {
            let (page, next) = self.list_uploads(prefix, after).await?;
            for (path, id, begun) in page {
                if begun < before {
                    found += 1;
                    if !dry_run {
                        self.abort_path(&path, &id).await?;
                    }
                }
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// A page of uploads: their paths, ids and start times, and the start of the next page.
    async fn list_uploads(
        &self,
        prefix: &str,
        after: Option<(String, String)>,
    ) -> Result<(Vec<(String, String, Timestamp)>, Option<(String, String)>), StoreError> {
        let prefix = format!("{}{prefix}", self.prefix);
        let list = async {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(&prefix);
            let (path, id) = after.unzip();
            match request.set_key_marker(path).set_upload_id_marker(id).send().await {
                Ok(output) => Ok(output),
                Err(error) => Err(Self::unread("list the uploads of", &prefix, self.judge(&error))),
            }
        };
        let output =
            self.meter.request_with(RequestKind::UploadList, &prefix, 0, list, |_| (Response::Done, 0)).await?;
        let mut page = Vec::new();
        for upload in output.uploads() {
            let (Some(path), Some(id), Some(begun)) = (upload.key(), upload.upload_id(), upload.initiated()) else {
                continue;
            };
            let begun = begun.to_millis().map_err(|error| {
                let begun = begun.fmt(DateTimeFormat::DateTime).unwrap_or_default();
                let reason = format!("the date `{begun}` cannot be used: {error}");
                StoreError::new(StoreErrorKind::Permanent, "list the uploads of", &prefix, reason)
            })?;
            page.push((path.to_owned(), id.to_owned(), Timestamp::from_millis(begun)));
        }
        let next = output.next_key_marker.zip(output.next_upload_id_marker);
        Ok((page, next.filter(|_| output.is_truncated == Some(true))))
    }
}

fn hashed(part: Vec<Bytes>) -> (Vec<Bytes>, Hasher) {
    let mut hasher = Hasher::new();
    part.iter().for_each(|chunk| hasher.update(chunk));
    (part, hasher)
}

/// The chunks, divided into parts of [`PART_BYTES`], the last one shorter.
fn parts_of(chunks: &[Bytes]) -> Vec<Vec<Bytes>> {
    let (mut parts, mut part, mut room) = (Vec::new(), Vec::new(), PART_BYTES);
    for chunk in chunks {
        let mut rest = chunk.clone();
        while rest.has_remaining() {
            let taken = rest.split_to(rest.len().min(room));
            room -= taken.len();
            part.push(taken);
            if room == 0 {
                parts.push(std::mem::take(&mut part));
                room = PART_BYTES;
            }
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_one_size_but_for_the_last() {
        for lengths in [vec![PART_BYTES * 2 + 5], vec![3, PART_BYTES, PART_BYTES - 3, 1], vec![0, PART_BYTES, 0]] {
            let chunks: Vec<Bytes> = lengths.iter().map(|length| Bytes::from(vec![7; *length])).collect();
            let parts = parts_of(&chunks);
            let sizes: Vec<u64> = parts.iter().map(|part| bytes_of(part)).collect();
            let (last, whole) = sizes.split_last().unwrap();
            assert!(whole.iter().all(|size| *size == PART_BYTES as u64) && (1..=PART_BYTES as u64).contains(last));
            assert_eq!(sizes.iter().sum::<u64>(), bytes_of(&chunks));
        }
    }
}
