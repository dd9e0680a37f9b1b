//! Objects of ops that messages name: for what does not fit into a message.
//!
//! An object is read a piece at a time, decompressed, and appended line by line. The memory for it
//! is bounded. It is a source of its own, and each line a position in it: if its reader dies,
//! another reads it again from its beginning, and leaves out the lines that the log holds.
//!
//! A compressed object has its checksums at its end. It is read to there first: no line of it is
//! appended before all of them are known to be right.
//!
//! What an object is, as a source, is its address, its ETag and when it was written. So it takes
//! effect once, whatever number of messages name it; and one that is put in its place is another
//! one.

mod fetch;
mod lines;
mod load;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;

use super::reference::Reference;
use crate::error::Result;
use crate::store::S3Address;
use crate::store::s3::client;

/// Where objects lie that messages may name. Clones share connections.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    bucket: Arc<str>,
    /// Empty, or ends with `/`.
    prefix: Arc<str>,
    /// How long a piece may take.
    patience: Duration,
    /// The compressed object that was checked last, as a source.
    checked: Arc<Mutex<Option<String>>>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.place()).finish()
    }
}

impl Objects {
    /// Objects under this address, which says how they are reached as that of a store does. Makes
    /// no request.
    ///
    /// # Errors
    ///
    /// No region is set, or the certificates to trust cannot be used.
    pub async fn open(address: &S3Address) -> Result<Self> {
        let (client, _) = client(&format!("s3://{}", address.bucket), &address.options).await?;
        let prefix = if address.prefix.is_empty() { String::new() } else { format!("{}/", address.prefix) };
        let patience = address.options.aws.timeouts.operation;
        let (bucket, checked) = (address.bucket.as_str().into(), Arc::default());
        Ok(Self { client, bucket, prefix: prefix.into(), patience, checked })
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

    /// Whether an object may be named. Else why not.
    fn allow(&self, reference: &Reference) -> Result<(), String> {
        if *reference.bucket == *self.bucket && reference.key.starts_with(&*self.prefix) {
            return Ok(());
        }
        Err(format!("`{reference}` does not lie under `{}`, where objects may be named", self.place()))
    }
}
