//! Objects of ops that messages name, for ops that do not fit into a message.
//!
//! It reads an object piece by piece, decompresses it, and appends it in runs of lines, in bounded
//! memory. Each object is a source of its own, and each line a position in it. If its reader dies,
//! another reads it again from its beginning and skips the lines that the log holds.
//!
//! A compressed object has its checksums at its end. It is read to there first, so that no line is
//! appended before the checksums confirm all of them.
//!
//! An object is identified as a source by its address, its ETag and the time of its last write. So
//! it takes effect once, however many messages name it. An object that replaces it is another
//! source.

mod fetch;
mod lines;
mod load;
mod runs;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;

use super::reference::Reference;
use crate::error::Result;
use crate::store::S3Address;
use crate::store::s3::client;

/// The place of objects that messages may name. Clones share connections.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    bucket: Arc<str>,
    /// Empty, or ends with `/`.
    prefix: Arc<str>,
    /// The timeout of a piece.
    timeout: Duration,
    /// The compressed object that was checked last, by its name as a source.
    checked: Arc<Mutex<Option<String>>>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.place()).finish()
    }
}

impl Objects {
    /// Objects under this address. Its parameters are those of a store's address. Makes no request.
    ///
    /// # Errors
    ///
    /// No region is set, or the trusted certificates cannot be used.
    pub async fn open(address: &S3Address) -> Result<Self> {
        let (client, ..) = client(&format!("s3://{}", address.bucket), &address.options).await?;
        let prefix = if address.prefix.is_empty() { String::new() } else { format!("{}/", address.prefix) };
        let timeout = address.options.aws.timeouts.operation;
        let (bucket, checked) = (address.bucket.as_str().into(), Arc::default());
        Ok(Self { client, bucket, prefix: prefix.into(), timeout, checked })
    }

    fn is_checked(&self, source: &str) -> bool {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(source)
    }

    fn remember_checked(&self, source: &str) {
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(source.to_owned());
    }

    fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    /// Whether messages may name this object. If not, the reason.
    fn allow(&self, reference: &Reference) -> Result<(), String> {
        if *reference.bucket == *self.bucket && reference.key.starts_with(&*self.prefix) {
            return Ok(());
        }
        Err(format!("`{reference}` does not lie under `{}`, where objects may be named", self.place()))
    }
}
