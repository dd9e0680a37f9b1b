//! Reading objects.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};

use super::checksum::CHECKSUM;
use super::spool::{Destination, SPOOL_FROM_BYTES};
use super::{Fault, Inner, RANGE_BYTES};
use crate::env;
use crate::store::{Key, Object, RequestKind, StoreError, StoreErrorKind, Tag, Unless, read_response};

/// Deltafold writes no larger objects. No memory is allocated for them.
const MAX_OBJECT_BYTES: u64 = 2 << 30;

/// The most reads of an object whose bytes do not match their checksum. Damage in transit passes;
/// damage in the bucket stays.
const READS_OF_DAMAGE: usize = 3;

enum Read {
    Object(Object),
    Absent,
    Damaged,
}

/// A piece of an object, as it came.
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) tag: Tag,
    /// The length of the whole object.
    pub(super) total: u64,
    /// The checksum of the whole object. A copy made by another tool may lack it.
    pub(super) checksum: Option<u32>,
}

pub(super) enum Fetched {
    Piece(Piece),
    Absent,
    /// The object does not have the named tag.
    Changed,
    /// The object ends at or before the start of the range.
    PastTheEnd,
}

impl Fetched {
    fn bytes(&self) -> Option<&Bytes> {
        if let Self::Piece(piece) = self { Some(&piece.bytes) } else { None }
    }
}

impl Inner {
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        for _ in 0..READS_OF_DAMAGE {
            match self.get_once(key).await? {
                Read::Object(object) => return Ok(Some(object)),
                Read::Absent => return Ok(None),
                Read::Damaged => tracing::warn!(%key, "the bytes read do not have their checksum; reading again"),
            }
        }
        let reason = "its bytes do not have the checksum that they were written with; run `verify --deep` and restore the object";
        Err(StoreError::new(StoreErrorKind::Damaged, "read", key, reason))
    }

    async fn get_once(&self, key: &Key) -> Result<Read, StoreError> {
        let first = match self.fetch(key, Some((0, RANGE_BYTES)), None).await? {
            // An object of no bytes has no range.
            Fetched::PastTheEnd => self.fetch(key, None, None).await?,
            fetched => fetched,
        };
        let Fetched::Piece(first) = first else { return Ok(Read::Absent) };
        let (tag, total, checksum) = (first.tag.clone(), first.total, first.checksum);
        let mut found = crc32fast::Hasher::new();
        found.update(&first.bytes);
        let read = first.bytes.len() as u64;
        let bytes = if total < SPOOL_FROM_BYTES && read == total {
            first.bytes
        } else {
            let no_room = |error| self.no_room(key, &error);
            let mut destination = Destination::new(&self.temporary, total).await.map_err(no_room)?;
            destination.put(0, first.bytes).await.map_err(no_room)?;
            self.fetch_rest(key, &tag, read, total, &mut destination, &mut found).await?;
            destination.finish().map_err(no_room)?
        };
        let found = found.finalize();
        if checksum.is_some_and(|checksum| checksum != found) {
            return Ok(Read::Damaged);
        }
        Ok(Read::Object(Object { bytes, tag }))
    }

    pub(super) async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        if start >= end {
            // No range header can ask for zero bytes. One byte shows whether the object is there.
            return Ok(self.get_range_of(key, 0, 1).await?.map(|_| Bytes::new()));
        }
        self.get_range_of(key, start, end.min(start.saturating_add(MAX_OBJECT_BYTES))).await
    }

    async fn get_range_of(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        match self.fetch(key, Some((start, end)), None).await? {
            Fetched::Piece(piece) => Ok(Some(piece.bytes)),
            Fetched::PastTheEnd => Ok(Some(Bytes::new())),
            Fetched::Absent | Fetched::Changed => Ok(None),
        }
    }

    pub(super) async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        let get = async {
            let request = self.client.get_object().bucket(&self.bucket).key(self.path(key)).if_none_match(tag.as_str());
            match request.send().await {
                Ok(output) => {
                    let piece = self.piece(key, output, None).await?;
                    Ok(Unless::Changed(Object { bytes: piece.bytes, tag: piece.tag }))
                }
                Err(error) => match self.judge(&error) {
                    Fault::Unchanged => Ok(Unless::Unchanged),
                    Fault::Absent => Ok(Unless::Absent),
                    fault => Err(Self::unread("read", key, fault)),
                },
            }
        };
        self.meter.request(RequestKind::GetUnless, key, 0, self.in_time(key, get)).await
    }

    /// Reads bytes `start..end`, or all. If `tag` is given, only of the object that has it.
    pub(super) async fn fetch(
        &self,
        key: &Key,
        range: Option<(u64, u64)>,
        tag: Option<&Tag>,
    ) -> Result<Fetched, StoreError> {
        let get = async {
            let mut request = self.client.get_object().bucket(&self.bucket).key(self.path(key));
            if let Some((start, end)) = range {
                request = request.range(format!("bytes={start}-{}", end.saturating_sub(1)));
            }
            if let Some(tag) = tag {
                request = request.if_match(tag.as_str());
            }
            match request.send().await {
                Ok(output) => {
                    let piece = self.piece(key, output, range).await?;
                    // Some services ignore the condition of a read.
                    let is_other = tag.is_some_and(|tag| *tag != piece.tag);
                    Ok(if is_other { Fetched::Changed } else { Fetched::Piece(piece) })
                }
                Err(error) => match self.judge(&error) {
                    Fault::Absent => Ok(Fetched::Absent),
                    Fault::Refused if tag.is_some() => Ok(Fetched::Changed),
                    Fault::PastTheEnd => Ok(Fetched::PastTheEnd),
                    fault => Err(Self::unread("read", key, fault)),
                },
            }
        };
        let response = |fetched: &Fetched| read_response(fetched.bytes());
        // Boxed: the futures of the SDK are large, and would enlarge every future around this one.
        Box::pin(self.meter.request_with(RequestKind::Get, key, 0, self.in_time(key, get), response)).await
    }

    /// Reads the body of an answer.
    async fn piece(&self, key: &Key, output: GetObjectOutput, range: Option<(u64, u64)>) -> Result<Piece, StoreError> {
        let transient = |reason: String| StoreError::new(StoreErrorKind::Transient, "read", key, reason);
        let length = output.content_length().and_then(|length| u64::try_from(length).ok());
        let length = length.ok_or_else(|| transient("the answer does not say how long it is".to_owned()))?;
        // A service that ignores the range sends the whole object.
        let total = output.content_range().map_or(Some(length), total_of);
        let total = total.ok_or_else(|| transient("the answer does not say how long the object is".to_owned()))?;
        if total > MAX_OBJECT_BYTES || length > total {
            let reason = format!("it is {total} bytes long, which no object of Deltafold can be");
            return Err(StoreError::new(StoreErrorKind::Damaged, "read", key, reason));
        }
        let tag = output.e_tag().ok_or_else(|| transient("the answer has no ETag".to_owned()))?;
        let tag = Tag::new(tag);
        let said = output.metadata().and_then(|metadata| metadata.get(CHECKSUM));
        let checksum = said.and_then(|text| u32::from_str_radix(text, 16).ok());
        let partial = output.content_range().is_some();
        let bytes = collect(output.body, length).await.map_err(transient)?;
        let bytes = match range {
            Some((start, end)) if !partial => {
                let within = |at: u64| usize::try_from(at).unwrap_or(bytes.len()).min(bytes.len());
                bytes.slice(within(start)..within(end))
            }
            _ => bytes,
        };
        Ok(Piece { bytes, tag, total, checksum })
    }

    /// Gives up a call that takes too long, including the body of its answer.
    pub(super) async fn in_time<T>(
        &self,
        key: &Key,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match env::timeout(self.timeout, call).await {
            Some(result) => result,
            None => Err(StoreError::new(StoreErrorKind::Transient, "read", key, "no complete answer in time")),
        }
    }
}

/// The number behind the slash of `bytes 0-99/1234`.
fn total_of(content_range: &str) -> Option<u64> {
    content_range.rsplit_once('/')?.1.parse().ok()
}

/// Collects a whole body.
async fn collect(mut body: ByteStream, length: u64) -> Result<Bytes, String> {
    let length = usize::try_from(length).map_err(|error| error.to_string())?;
    let mut first: Option<Bytes> = None;
    let mut all: Option<BytesMut> = None;
    while let Some(chunk) = body.try_next().await.map_err(|error| format!("the answer broke off: {error}"))? {
        match (&mut all, first.take()) {
            (Some(all), _) => all.extend_from_slice(&chunk),
            (None, None) => first = Some(chunk),
            (None, Some(before)) => {
                let mut both = BytesMut::with_capacity(length.max(before.len() + chunk.len()));
                both.extend_from_slice(&before);
                both.extend_from_slice(&chunk);
                all = Some(both);
            }
        }
        if all.as_ref().map_or(0, BytesMut::len) > length {
            break;
        }
    }
    let bytes = all.map(BytesMut::freeze).or(first).unwrap_or_default();
    if bytes.len() == length {
        Ok(bytes)
    } else {
        Err(format!("{} bytes arrived, and the answer announced {length}", bytes.len()))
    }
}
