//! A store in an S3 bucket, or in one of a compatible service.
//!
//! It keeps the [contract](crate::store) as follows:
//!
//! - **Create** is a PUT with `If-None-Match: *`, **replace** one with `If-Match`. An answer means
//!   no more than it says. 412 is "refused", 409 "nothing landed", 404 on a replace "refused".
//!   After 500, 503, a timeout or a broken connection the outcome is "unknown".
//! - **Damage in transit** shows at both ends. Each write carries a CRC32 that the bucket checks
//!   before it takes the bytes. The object's metadata holds it again, and every whole read is
//!   checked against that. The format's own checksums cover ranges.
//! - **Objects over 16 MiB** are sent in parts, eight at once. The last request carries the
//!   condition and makes the object. An unfinished upload is invisible;
//!   [`abort_uploads`](crate::store::Store::abort_uploads), which sweep calls, gives it up.
//! - **Objects over 8 MiB** are read in ranges of 8 MiB, eight at once. From 1 MiB on an object
//!   goes to a mapped temporary file, and so costs no memory of the process.
//! - **The clock** is the `Date` of the bucket's answers, to the second. So are the dates of its
//!   objects.
//!
//! One call is one attempt of one request, except for the parts of large objects. The caller
//! retries. Every request is counted.

mod address;
mod checksum;
mod delete;
mod list;
mod range;
mod read;
mod spool;
mod upload;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bytes::Bytes;
use deltafold_format::{HeadPlace, Timestamp};
use tokio::sync::Semaphore;

use super::{Key, Listed, Meter, Object, Outcome, Requests, Staged, Store, StoreError, StoreErrorKind, Tag, Unless};
use crate::aws::{self, AwsOptions, Fault, Wire};
use crate::setters::setters;

pub use address::S3Address;
#[cfg(feature = "lambda")]
pub(crate) use address::parse_bytes;

/// The size of a part. Larger objects are sent in parts.
const PART_BYTES: usize = 16 << 20;
/// The number of parts in flight at once.
const PARTS_AT_ONCE: usize = 8;
/// Smaller objects are not sent ahead: that takes two more requests.
const STAGE_BYTES: u64 = 1 << 20;
/// The size of a range. Larger objects are read in ranges.
const RANGE_BYTES: u64 = 8 << 20;
/// The number of ranges of large objects in flight at once, for all callers together.
const RANGES_AT_ONCE: usize = 8;

/// The connection of an S3 store, and its use of this machine.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct S3Options {
    /// Credentials, region, endpoint, timeouts.
    pub aws: AwsOptions,
    /// Puts the bucket's name in the path instead of the host name. By default where an endpoint is
    /// set.
    pub path_style: Option<bool>,
    /// The folder for temporary files; by default that of the system.
    pub temporary: Option<PathBuf>,
}

setters!(S3Options {
    aws: AwsOptions,
    path_style: into Option<bool>,
    temporary: into Option<PathBuf>,
});

/// A store in an S3 bucket. Clones share connections and counters. The [module](self) says how it
/// keeps its promises.
///
/// ```no_run
/// use std::sync::Arc;
/// use deltafold::aws::AwsOptions;
/// use deltafold::store::{S3, S3Options};
/// use deltafold::{Collection, CreateOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let aws = AwsOptions::default().region("eu-central-1".to_owned());
/// let store = S3::open("my-bucket", "vectors", &S3Options::default().aws(aws)).await?;
/// // `create` tries first whether the bucket keeps the contract.
/// let options = CreateOptions::new(384);
/// Collection::create(Arc::new(store), &"articles".parse()?, &options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct S3 {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    wire: Wire,
    bucket: String,
    /// Empty, or ends with `/`.
    prefix: String,
    location: String,
    meter: Meter,
    ranges: Semaphore,
    parts: Semaphore,
    temporary: PathBuf,
    /// The limit of a call, with the body of its answer.
    timeout: std::time::Duration,
    /// Bodies go unsigned where TLS and the checksum protect them.
    sign_bodies: bool,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3").field(&self.inner.location).finish()
    }
}

/// A client, the way of its requests, and whether it connects without TLS.
pub(crate) async fn client(what: &str, options: &S3Options) -> Result<(Client, Wire, bool), StoreError> {
    let (sdk, wire) = aws::connect_by(what, &options.aws).await?;
    let path_style = options.path_style.unwrap_or(sdk.endpoint_url().is_some());
    let config = aws_sdk_s3::config::Builder::from(&sdk)
        .force_path_style(path_style)
        // This store computes each checksum once, sends it with every write and compares it with
        // every read.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Ok((Client::from_conf(config), wire, sdk.endpoint_url().is_some_and(|endpoint| endpoint.starts_with("http://"))))
}

impl S3 {
    /// The store under `prefix` in `bucket`. Makes no request. The first use tells whether the
    /// bucket is there; [`probe`](crate::store::probe()) tells whether it keeps the contract.
    ///
    /// # Errors
    ///
    /// No region is set, or the certificates to trust are unusable.
    pub async fn open(bucket: &str, prefix: &str, options: &S3Options) -> Result<Self, StoreError> {
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        let location = format!("s3://{bucket}/{}", prefix.trim_end_matches('/'));
        let location = location.trim_end_matches('/').to_owned();
        let (client, wire, plain) = client(&location, options).await?;
        let inner = Inner {
            client,
            wire,
            bucket: bucket.to_owned(),
            prefix,
            location,
            meter: Meter::default(),
            ranges: Semaphore::new(RANGES_AT_ONCE),
            parts: Semaphore::new(PARTS_AT_ONCE),
            temporary: options.temporary.clone().unwrap_or_else(std::env::temp_dir),
            timeout: options.aws.timeouts.operation,
            sign_bodies: plain,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.inner.bucket
    }
}

impl Inner {
    fn path(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Judges an error, and names the bucket where there is none.
    fn judge<E>(&self, error: &SdkError<E, HttpResponse>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match aws::judge(error) {
            Fault::NoBucket(said) => Fault::NoBucket(self.no_bucket(&said)),
            fault => fault,
        }
    }

    fn no_bucket(&self, said: &str) -> String {
        format!("{said}; there is no bucket `{}`: create it, or correct its name in the store's address", self.bucket)
    }

    /// Translates an error answer to a read. The caller handles what the object says of itself
    /// (absent, unchanged).
    fn unread(verb: &'static str, key: impl fmt::Display, fault: Fault) -> StoreError {
        match fault {
            Fault::Impossible(reason) => StoreError::new(StoreErrorKind::Permanent, verb, key, reason),
            Fault::NoBucket(reason) | Fault::Astray(reason) => {
                StoreError::new(StoreErrorKind::Permanent, verb, key, reason)
            }
            Fault::Full(reason) => StoreError::new(StoreErrorKind::Full, verb, key, reason),
            Fault::Unsupported(reason) => StoreError::new(StoreErrorKind::Unsupported, verb, key, reason),
            Fault::Conflict => StoreError::conflict(verb, key),
            Fault::Lost(reason) | Fault::Rejected(reason) => {
                StoreError::new(StoreErrorKind::Transient, verb, key, reason)
            }
            Fault::Absent | Fault::Unchanged | Fault::Refused | Fault::PastTheEnd => {
                StoreError::new(StoreErrorKind::Transient, verb, key, "the object changed while it was read")
            }
        }
    }
}

#[async_trait]
impl Store for S3 {
    fn location(&self) -> String {
        self.inner.location.clone()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        self.inner.get_range(key, start, end).await
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        self.inner.get_unless(key, tag).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.inner.write(key, None, chunks).await
    }

    async fn stage(&self, key: &Key, chunks: &[Bytes]) -> Result<Option<Box<dyn Staged>>, StoreError> {
        Ok(self.inner.stage(key, chunks).await?.map(|upload| Box::new(upload) as Box<dyn Staged>))
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.inner.write(key, Some(tag), chunks).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.inner.list_after(prefix, after, limit).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        self.inner.delete(keys).await
    }

    async fn settle(&self, _: &Key) -> Result<(), StoreError> {
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.now().await
    }

    fn requests(&self) -> Requests {
        self.inner.meter.requests()
    }

    fn heads(&self) -> HeadPlace {
        HeadPlace::Store
    }

    fn is_to_be_probed(&self) -> bool {
        true
    }

    fn proxies(&self) -> Vec<String> {
        self.inner.wire.proxies()
    }

    async fn abort_uploads(&self, prefix: &str, before: Timestamp, dry_run: bool) -> Result<u64, StoreError> {
        self.inner.abort_uploads(prefix, before, dry_run).await
    }
}

/// A failure that a retry may pass.
fn lost(verb: &'static str, key: &Key, reason: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Transient, verb, key, reason)
}
