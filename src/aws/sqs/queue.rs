//! A queue: its lookup, its settings, and its depth.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;

use super::address::{self, Address};
use super::count::{Count, QueueAction, QueueRequests};
use super::error::{QueueError, QueueErrorKind};
use crate::aws::{self, AwsOptions};
use crate::retry;

/// A queue of SQS. Clones share its connections and its counts.
#[derive(Clone)]
pub struct Queue {
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) name: String,
    pub(super) count: Count,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The number of waiting messages. The service counts approximately. Its counts are right about a
/// minute after the last change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Depth {
    /// Messages that a consumer can receive.
    pub visible: u64,
    /// Messages that a consumer has received and not deleted yet.
    pub in_flight: u64,
    /// Delayed messages.
    pub delayed: u64,
}

impl Depth {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

/// The settings of a queue, and its depth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSettings {
    /// Its ARN.
    pub arn: String,
    /// Whether it keeps order.
    pub fifo: bool,
    /// Whether a hash of the body replaces a missing deduplication id. The last state of A, B, A is
    /// then lost.
    pub content_based_deduplication: bool,
    /// A received message stays invisible this long.
    pub visibility_timeout: Duration,
    /// The queue keeps a message this long.
    pub retention: Duration,
    /// Receives after which a message goes to the dead-letter queue, if there is one.
    pub max_receives: Option<u32>,
    /// The ARN of the dead-letter queue.
    pub dead_letters: Option<String>,
    /// The number of waiting messages.
    pub depth: Depth,
}

impl Queue {
    /// The queue at a URL (no request), or of an ARN or a name (one request). The URL or the ARN
    /// gives the region unless `options` names one. A URL outside AWS gives the endpoint, unless
    /// `options` or the environment (`AWS_ENDPOINT_URL_SQS`, `AWS_ENDPOINT_URL`) does.
    ///
    /// # Errors
    ///
    /// `Invalid` for text that is none of the three; `NotFound` for a name or ARN of no queue;
    /// `Permanent` if no region is set.
    pub async fn open(queue: &str, options: &AwsOptions) -> Result<Self, QueueError> {
        let invalid = |reason: String| QueueError::new(QueueErrorKind::Invalid, "open", queue, reason);
        let mut options = options.clone();
        let elsewhere = ["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        let found = address::parse(queue).map_err(invalid)?;
        let (Address::Url { region, .. } | Address::Name { region, .. }) = &found;
        options.region = options.region.or_else(|| region.clone());
        if let (Address::Url { endpoint: Some(endpoint), .. }, None, false) = (&found, &options.endpoint, elsewhere) {
            options.endpoint = Some(endpoint.clone());
        }
        let client = Client::new(&aws::connect(queue, &options).await?);
        Self::find(client, queue, found).await
    }

    /// Another queue, with the same options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn sibling(&self, queue: &str) -> Result<Self, QueueError> {
        let found = address::parse(queue);
        let found = found.map_err(|reason| QueueError::new(QueueErrorKind::Invalid, "open", queue, reason))?;
        Self::find(self.client.clone(), queue, found).await
    }

    async fn find(client: Client, queue: &str, found: Address) -> Result<Self, QueueError> {
        let count = Count::default();
        let (name, account) = match found {
            Address::Url { url, name, .. } => return Ok(Self { client, url, name, count }),
            Address::Name { name, account, .. } => (name, account),
        };
        let asked = retried(|| async {
            let request = client.get_queue_url().queue_name(&name).set_queue_owner_aws_account_id(account.clone());
            let answer = request.send().await.map_err(|error| QueueError::of("find", queue, &error));
            count.answered(QueueAction::Other, answer, |_| 0)
        });
        let url = asked.await?.queue_url;
        let missing = || QueueError::new(QueueErrorKind::NotFound, "find", queue, "the service names no URL");
        Ok(Self { client, url: url.ok_or_else(missing)?, name, count })
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name, the last part of URL and ARN.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it keeps order: the names of such queues end in `.fifo`.
    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// The requests of this handle and its clones so far.
    pub fn requests(&self) -> QueueRequests {
        self.count.requests()
    }

    /// The settings and the depth. One request.
    ///
    /// # Errors
    ///
    /// See [`QueueErrorKind`].
    pub async fn settings(&self) -> Result<QueueSettings, QueueError> {
        let answer = retried(|| async {
            let request = self.client.get_queue_attributes().queue_url(&self.url);
            let answer = request.attribute_names(QueueAttributeName::All).send().await;
            self.other("look at", answer)
        });
        let attributes = answer.await?.attributes.unwrap_or_default();
        Ok(self.read_settings(&attributes))
    }

    /// The number of waiting messages. One request.
    ///
    /// # Errors
    ///
    /// See [`QueueErrorKind`].
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        Ok(self.settings().await?.depth)
    }

    fn read_settings(&self, attributes: &HashMap<QueueAttributeName, String>) -> QueueSettings {
        let text = |name: QueueAttributeName| attributes.get(&name).map(String::as_str);
        let number = |name| text(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let policy = text(QueueAttributeName::RedrivePolicy).and_then(|text| serde_json::from_str(text).ok());
        let policy: serde_json::Value = policy.unwrap_or_default();
        let max = &policy["maxReceiveCount"];
        // Some services write the number as text.
        let max = max.as_u64().or_else(|| max.as_str().and_then(|text| text.parse().ok()));
        QueueSettings {
            arn: text(QueueAttributeName::QueueArn).unwrap_or_default().to_owned(),
            fifo: self.is_fifo(),
            content_based_deduplication: text(QueueAttributeName::ContentBasedDeduplication) == Some("true"),
            visibility_timeout: Duration::from_secs(number(QueueAttributeName::VisibilityTimeout)),
            retention: Duration::from_secs(number(QueueAttributeName::MessageRetentionPeriod)),
            max_receives: max.and_then(|max| u32::try_from(max).ok()),
            dead_letters: policy["deadLetterTargetArn"].as_str().map(str::to_owned),
            depth: Depth {
                visible: number(QueueAttributeName::ApproximateNumberOfMessages),
                in_flight: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
                delayed: number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
            },
        }
    }

    /// Counts and judges the answer to a request that carries no messages.
    pub(super) fn other<T, E>(
        &self,
        verb: &'static str,
        answer: Result<
            T,
            aws_smithy_runtime_api::client::result::SdkError<
                E,
                aws_smithy_runtime_api::client::orchestrator::HttpResponse,
            >,
        >,
    ) -> Result<T, QueueError>
    where
        E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
    {
        let answer = answer.map_err(|error| QueueError::of(verb, &self.name, &error));
        self.count.answered(QueueAction::Other, answer, |_| 0)
    }
}

/// Retries after transient failures.
pub(super) async fn retried<T, F>(call: impl FnMut() -> F) -> Result<T, QueueError>
where
    F: Future<Output = Result<T, QueueError>>,
{
    retry::while_transient(call, |error: &QueueError| error.kind() == QueueErrorKind::Transient).await
}
