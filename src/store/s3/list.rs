//! Lists objects, and reads the bucket's clock.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use deltafold_format::Timestamp;

use super::{Fault, Inner};
use crate::store::{Key, Listed, RequestKind, Response, StoreError, StoreErrorKind};

impl Inner {
    pub(super) async fn list_after(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut all: Vec<Listed> = Vec::new();
        let mut from = after.map(|after| self.path(after));
        while all.len() < limit {
            let page = self.list_page(prefix, from.as_deref(), limit - all.len()).await?;
            from = page.contents().last().and_then(|object| object.key()).map(str::to_owned);
            for object in page.contents() {
                all.extend(self.listed(prefix, object)?);
            }
            if page.is_truncated != Some(true) || from.is_none() {
                break;
            }
        }
        Ok(all)
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ListObjectsV2Output, StoreError> {
        let list = async {
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(format!("{}{prefix}", self.prefix));
            let request = request.set_start_after(after.map(str::to_owned));
            let request = request.max_keys(i32::try_from(limit).unwrap_or(i32::MAX).min(1_000));
            request.send().await.map_err(|error| {
                let listed = if prefix.is_empty() { self.location.as_str() } else { prefix };
                match self.judge(&error) {
                    // A list can only miss its bucket.
                    Fault::Absent => {
                        StoreError::new(StoreErrorKind::Permanent, "list", listed, self.no_bucket("HTTP 404"))
                    }
                    fault => Self::unread("list", listed, fault),
                }
            })
        };
        self.meter.request_with(RequestKind::List, prefix, 0, list, |_| (Response::Done, 0)).await
    }

    /// An object of Deltafold; `None` for other objects under the prefix.
    fn listed(&self, prefix: &str, object: &aws_sdk_s3::types::Object) -> Result<Option<Listed>, StoreError> {
        let path = object.key().and_then(|path| path.strip_prefix(&self.prefix));
        let Some(key) = path.and_then(Key::new) else { return Ok(None) };
        let bytes = object.size().and_then(|size| u64::try_from(size).ok());
        let modified = object.last_modified().and_then(|modified| modified.to_millis().ok());
        let (Some(bytes), Some(modified)) = (bytes, modified) else {
            let reason = format!("the list tells no size or no date of `{key}`");
            return Err(StoreError::new(StoreErrorKind::Permanent, "list", prefix, reason));
        };
        Ok(Some(Listed { key, bytes, modified: Timestamp::from_millis(modified) }))
    }

    /// The bucket's clock, from the date of an answer.
    pub(super) async fn now(&self) -> Result<Timestamp, StoreError> {
        let date = AnswerDate::default();
        let seen = date.clone();
        let head = async move {
            let request = self.client.head_bucket().bucket(&self.bucket).customize().interceptor(date);
            match request.send().await {
                Ok(_) => seen.read().ok_or_else(|| {
                    let reason = "its answer bears no date";
                    StoreError::new(StoreErrorKind::Permanent, "read the clock of", &self.bucket, reason)
                }),
                Err(error) => Err(match self.judge(&error) {
                    Fault::Absent => {
                        let reason = self.no_bucket("HTTP 404");
                        StoreError::new(StoreErrorKind::Permanent, "read the clock of", &self.bucket, reason)
                    }
                    fault => Self::unread("read the clock of", &self.bucket, fault),
                }),
            }
        };
        self.meter.request(RequestKind::Clock, &self.bucket, 0, head).await
    }
}

/// Catches the `Date` of an answer, which the SDK hides.
#[derive(Debug, Clone, Default)]
struct AnswerDate(Arc<Mutex<Option<Timestamp>>>);

impl AnswerDate {
    fn read(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for AnswerDate {
    fn name(&self) -> &'static str {
        "AnswerDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        let date = date.and_then(|date| date.to_millis().ok()).map(Timestamp::from_millis);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}
