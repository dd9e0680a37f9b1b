//! Objects of ops that messages name: for what does not fit into a message.
//!
//! An object is read a piece at a time, decompressed, and appended line by line; what is held of it at any moment is bounded. It is a source of its own, and each line a position in it: an object that was read
//! half when whoever read it died is read again from its beginning, and the lines that the log holds are left out.
//!
//! What an object is, as a source, is its address, its ETag and when it was written. So it takes effect once, whatever number of messages name it; and one that is put in its place is another one.

mod fetch;
mod lines;
mod load;

use std::fmt;
use std::sync::Arc;
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
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.place()).finish()
    }
}

impl Objects {
    /// Objects under this address, which says how they are reached as that of a store does. Makes no request.
    ///
    /// # Errors
    ///
    /// No region is set, or the certificates to trust cannot be used.
    pub async fn open(address: &S3Address) -> Result<Self> {
        let (client, _) = client(&format!("s3://{}", address.bucket), &address.options).await?;
        let prefix = if address.prefix.is_empty() { String::new() } else { format!("{}/", address.prefix) };
        let patience = address.options.aws.timeouts.operation;
        Ok(Self { client, bucket: address.bucket.as_str().into(), prefix: prefix.into(), patience })
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
