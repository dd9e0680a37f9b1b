//! Deleting objects.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::{Fault, Inner};
use crate::store::{Key, RequestKind, StoreError, StoreErrorKind};

/// The most objects that one request removes.
const DELETES: usize = 1_000;

impl Inner {
    pub(super) async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        for keys in keys.chunks(DELETES) {
            let first = keys.first().map_or("", Key::as_str);
            let delete = self.delete_batch(first, keys);
            self.meter.request(RequestKind::Delete, first, 0, delete).await?;
        }
        Ok(())
    }

    async fn delete_batch(&self, first: &str, keys: &[Key]) -> Result<(), StoreError> {
        let permanent = |key: &str, reason: String| StoreError::new(StoreErrorKind::Permanent, "delete", key, reason);
        if let [only] = keys {
            let request = self.client.delete_object().bucket(&self.bucket).key(self.path(only));
            return match request.send().await.map_err(|error| self.judge(&error)) {
                Ok(_) | Err(Fault::Absent) => Ok(()),
                Err(fault) => Err(Self::unread("delete", only, fault)),
            };
        }
        let object = |key: &Key| ObjectIdentifier::builder().key(self.path(key)).build();
        let objects: Result<Vec<_>, _> = keys.iter().map(object).collect();
        let objects = objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
        let objects = objects.map_err(|error| permanent(first, error.to_string()))?;
        let output = match self.client.delete_objects().bucket(&self.bucket).delete(objects).send().await {
            Ok(output) => output,
            Err(error) => return Err(Self::unread("delete", first, self.judge(&error))),
        };
        let Some(failed) = output.errors().iter().find(|failed| failed.code() != Some("NoSuchKey")) else {
            return Ok(());
        };
        let path = failed.key().unwrap_or(first);
        let (code, message) = (failed.code().unwrap_or("?"), failed.message().unwrap_or_default());
        let reason = format!("{code}: {message}");
        Err(match code {
            "InternalError" | "SlowDown" | "ServiceUnavailable" => {
                StoreError::new(StoreErrorKind::Transient, "delete", path, reason)
            }
            _ => permanent(path, reason),
        })
    }
}
