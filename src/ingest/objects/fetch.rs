//! Reads of an object, piece by piece.

use bytes::Bytes;

use super::Objects;
use crate::aws::{Fault, judge};
use crate::env;
use crate::ingest::delivery::Cause;
use crate::ingest::reference::Reference;
use crate::retry;

/// Bytes of a piece.
pub(super) const PIECE_BYTES: u64 = 8 << 20;

/// A piece of an object, with the store's metadata of the whole object.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// The length of the object.
    pub(super) total: u64,
    pub(super) etag: String,
    /// Its version, in a bucket with versions.
    pub(super) version: Option<String>,
    /// The time of its last write, in seconds since 1970.
    pub(super) written: i64,
}

/// The reason why a read failed.
#[derive(Debug)]
enum Missed {
    /// A retry may help.
    Transient(String),
    /// The object does not have the required ETag.
    Changed,
    Final(String),
}

impl std::fmt::Display for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Transient(reason) | Self::Final(reason) => f.write_str(reason),
            Self::Changed => f.write_str("it has changed"),
        }
    }
}

impl Objects {
    /// The first piece, which also identifies the object.
    pub(super) async fn first(&self, of: &Reference) -> Result<Piece, (String, Cause)> {
        self.piece(of, 0, of.etag.as_deref()).await.map_err(|missed| match missed {
            Missed::Transient(reason) => (format!("`{of}` could not be read: {reason}"), Cause::NotAppended),
            Missed::Changed => {
                let etag = of.etag.as_deref().unwrap_or_default();
                let reason = format!(
                    "`{of}` is not the object that the message names: its ETag is not `{etag}`. Put that one back, or send a message that names the one that is there"
                );
                (reason, Cause::NotUnderstood)
            }
            Missed::Final(reason) => (reason, Cause::NotUnderstood),
        })
    }

    /// The piece that begins at `from`, of the object with this ETag.
    pub(super) async fn next(&self, of: &Reference, from: u64, etag: &str) -> Result<Piece, String> {
        self.piece(of, from, Some(etag)).await.map_err(|missed| match missed {
            Missed::Changed => format!("`{of}` changed while it was read"),
            Missed::Transient(reason) => format!("`{of}` could not be read: {reason}"),
            Missed::Final(reason) => reason,
        })
    }

    async fn piece(&self, of: &Reference, from: u64, etag: Option<&str>) -> Result<Piece, Missed> {
        let call = || async {
            let slow = || Err(Missed::Transient("no complete answer in time".to_owned()));
            env::timeout(self.timeout, self.get(of, from, etag)).await.unwrap_or_else(slow)
        };
        retry::while_transient(call, |missed| matches!(missed, Missed::Transient(_))).await
    }

    async fn get(&self, of: &Reference, from: u64, wanted: Option<&str>) -> Result<Piece, Missed> {
        let transient = |reason: &str| Missed::Transient(reason.to_owned());
        let mut request = self.client.get_object().bucket(&of.bucket).key(&of.key);
        request = request.range(format!("bytes={from}-{}", from + PIECE_BYTES - 1));
        if let Some(etag) = wanted {
            request = request.if_match(format!("\"{etag}\""));
        }
        if let Some(version) = &of.version {
            request = request.version_id(version);
        }
        let output = request.send().await.map_err(|error| match judge(&error) {
            Fault::Absent => Missed::Final(format!("there is no object `{of}`; put it there, or correct its address")),
            Fault::Refused => Missed::Changed,
            // An empty object has no byte 0.
            Fault::PastTheEnd => Missed::Final(format!("`{of}` is empty: it holds no op")),
            Fault::NoBucket(reason) | Fault::Full(reason) => Missed::Final(format!("`{of}` cannot be read: {reason}")),
            Fault::Impossible(reason) | Fault::Unsupported(reason) => Missed::Final(format!(
                "`{of}` cannot be read: {reason}. Without permission to list the bucket, the answer for a missing object is the same"
            )),
            // The message is right, whatever answered: it shall come again.
            Fault::Lost(reason) | Fault::Rejected(reason) | Fault::Astray(reason) => Missed::Transient(reason),
            Fault::Conflict | Fault::Unchanged => transient("the store was busy"),
        })?;
        let etag = output.e_tag().map(|etag| etag.trim_matches('"').to_owned());
        // `null` is the version of objects from before the bucket had versions.
        let version = output.version_id().filter(|version| *version != "null").map(str::to_owned);
        let written = output.last_modified().map(aws_smithy_types::DateTime::secs);
        let (Some(etag), Some(written)) = (etag, written) else {
            return Err(transient("the answer does not say which object it is of"));
        };
        // Some services ignore the condition of a read.
        if wanted.is_some_and(|wanted| wanted != etag) {
            return Err(Missed::Changed);
        }
        let length = output.content_length().and_then(|length| u64::try_from(length).ok());
        let total = match output.content_range() {
            Some(range) => range.rsplit_once('/').and_then(|(_, total)| total.parse().ok()),
            // A service that ignores the range sends the whole object.
            None if from == 0 => length.filter(|length| *length <= PIECE_BYTES),
            None => None,
        };
        let Some(total) = total else { return Err(transient("the answer does not say how long the object is")) };
        let wanted = PIECE_BYTES.min(total.saturating_sub(from));
        if length != Some(wanted) {
            return Err(transient("the length of the answer differs from the request"));
        }
        let body = output.body.collect().await;
        let bytes = body.map_err(|error| Missed::Transient(format!("the answer broke off: {error}")))?.into_bytes();
        if bytes.len() as u64 != wanted {
            return Err(transient("the answer broke off"));
        }
        Ok(Piece { bytes, total, etag, version, written })
    }
}
