//! Writing objects: one PUT with its condition, or an upload in parts.

use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::checksum::{CHECKSUM, base64, checksum_of};
use super::upload::Upload;
use super::{Fault, Inner, PART_BYTES, lost};
use crate::store::memory::concat;
use crate::store::{Key, Outcome, RequestKind, Response, StoreError, StoreErrorKind, Tag, bytes_of};

impl Inner {
    /// Writes an object: a new one, or over the one that has this tag.
    pub(super) async fn write(
        self: &Arc<Self>,
        key: &Key,
        over: Option<&Tag>,
        chunks: Vec<Bytes>,
    ) -> Result<Outcome, StoreError> {
        if over.is_none() && bytes_of(&chunks) > PART_BYTES as u64 {
            return Upload::send(self, key, &chunks).await?.complete().await;
        }
        let kind = if over.is_some() { RequestKind::Replace } else { RequestKind::Create };
        let (bytes, put) = (bytes_of(&chunks), self.put(key, over, &chunks));
        let written = self.meter.request(kind, key, bytes, put).await;
        match written {
            Err(error) if error.is_conflict() => self.resolve_conflict(key, over, error).await,
            written => written,
        }
    }

    async fn put(&self, key: &Key, over: Option<&Tag>, chunks: &[Bytes]) -> Result<Outcome, StoreError> {
        let verb = verb(over);
        let checksum = checksum_of(chunks);
        let request = self.client.put_object().bucket(&self.bucket).key(self.path(key));
        let request = match over {
            None => request.if_none_match("*"),
            Some(tag) => request.if_match(tag.as_str()),
        };
        let request = request
            .checksum_crc32(base64(checksum))
            .metadata(CHECKSUM, format!("{checksum:08x}"))
            .body(ByteStream::from(concat(chunks)))
            .customize();
        let request = if self.sign_bodies { request } else { request.disable_payload_signing() };
        match request.send().await {
            Ok(output) => Ok(match output.e_tag {
                Some(tag) => Outcome::Done(Tag::new(tag)),
                None => Outcome::Unknown(lost(verb, key, "the answer has no ETag")),
            }),
            Err(error) => Self::unwritten(verb, key, self.judge(&error)),
        }
    }

    /// Translates an error answer to a write.
    pub(super) fn unwritten(verb: &'static str, key: &Key, fault: Fault) -> Result<Outcome, StoreError> {
        match fault {
            // 404 for a replace: no object has the tag any more. A delete marker of a versioned
            // bucket counts as absent.
            Fault::Refused | Fault::Absent => Ok(Outcome::Refused),
            Fault::Conflict => Err(StoreError::conflict(verb, key)),
            Fault::Rejected(reason) => Err(lost(verb, key, &reason)),
            Fault::Impossible(reason) => Err(StoreError::new(StoreErrorKind::Permanent, verb, key, reason)),
            Fault::Unsupported(reason) => Err(StoreError::new(StoreErrorKind::Unsupported, verb, key, reason)),
            Fault::NoBucket(reason) => Err(StoreError::new(StoreErrorKind::Permanent, verb, key, reason)),
            Fault::Full(reason) => Err(StoreError::new(StoreErrorKind::Full, verb, key, reason)),
            Fault::Lost(reason) => Ok(Outcome::Unknown(lost(verb, key, &reason))),
            // In doubt all the same: something took the request.
            Fault::Astray(reason) => {
                Ok(Outcome::Unknown(StoreError::new(StoreErrorKind::Permanent, verb, key, reason)))
            }
            Fault::Unchanged | Fault::PastTheEnd => {
                let reason = "the answer (HTTP 304 or 416) is not one that a write can have; name the service itself in the endpoint";
                Ok(Outcome::Unknown(StoreError::new(StoreErrorKind::Permanent, verb, key, reason)))
            }
        }
    }

    /// Resolves a 409, which says that nothing landed because another caller was writing. Some
    /// stores answer so to every caller that comes too late, where S3 answers 412. Only a read
    /// shows whether the name is taken, or the register changed.
    pub(super) async fn resolve_conflict(
        &self,
        key: &Key,
        over: Option<&Tag>,
        conflict: StoreError,
    ) -> Result<Outcome, StoreError> {
        let head = async {
            match self.client.head_object().bucket(&self.bucket).key(self.path(key)).send().await {
                Ok(output) => Ok(output.e_tag.map(Tag::new)),
                Err(error) => match self.judge(&error) {
                    Fault::Absent => Ok(None),
                    fault => Err(Self::unread(verb(over), key, fault)),
                },
            }
        };
        let response = |found: &Option<Tag>| (if found.is_some() { Response::Done } else { Response::Absent }, 0);
        let head = self.in_time(key, head);
        let found = self.meter.request_with(RequestKind::Get, key, 0, head, response).await?;
        let decided = match over {
            None => found.is_some(),
            Some(tag) => found.as_ref() != Some(tag),
        };
        if decided { Ok(Outcome::Refused) } else { Err(conflict) }
    }
}

fn verb(over: Option<&Tag>) -> &'static str {
    if over.is_some() { "replace" } else { "create" }
}
