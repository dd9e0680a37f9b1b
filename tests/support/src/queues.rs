//! Queues of ministack.

use aws_sdk_sqs::types::QueueAttributeName;
use deltafold::aws::{AwsOptions, Credentials, Outgoing, Queue};

/// Options that reach a server with the keys of the tests.
pub fn options(endpoint: &str) -> AwsOptions {
    let (access_key, secret_key) = ("test".to_owned(), "test".to_owned());
    AwsOptions::default()
        .region(Some("us-east-1".to_owned()))
        .endpoint(Some(endpoint.to_owned()))
        .credentials(Some(Credentials { access_key, secret_key, session_token: None }))
}

/// A client of the SDK.
pub fn client(endpoint: &str) -> aws_sdk_sqs::Client {
    let keys = aws_sdk_sqs::config::Credentials::new("test", "test", None, None, "test");
    let config = aws_sdk_sqs::config::Builder::new()
        .behavior_version_latest()
        .endpoint_url(endpoint)
        .credentials_provider(keys)
        .region(aws_sdk_sqs::config::Region::new("us-east-1"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_sqs::Client::from_conf(config)
}

/// Makes a queue. One whose name ends in `.fifo` keeps order.
pub async fn create(endpoint: &str, name: &str, attributes: &[(QueueAttributeName, &str)]) -> Queue {
    let mut request = client(endpoint).create_queue().queue_name(name);
    if name.ends_with(".fifo") {
        request = request.attributes(QueueAttributeName::FifoQueue, "true");
    }
    for (attribute, value) in attributes {
        request = request.attributes(attribute.clone(), *value);
    }
    let url = request.send().await.unwrap().queue_url.unwrap();
    Queue::open(&url, &options(endpoint)).await.unwrap()
}

/// Makes a queue and its dead-letter queue: the queue first.
pub async fn with_dead_letters(endpoint: &str, name: &str, max_receives: u32) -> (Queue, Queue) {
    let (plain, fifo) = name.strip_suffix(".fifo").map_or((name, ""), |plain| (plain, ".fifo"));
    let dead = create(endpoint, &format!("{plain}-dead{fifo}"), &[]).await;
    let arn = dead.settings().await.unwrap().arn;
    let policy = format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":\"{max_receives}\"}}");
    let attributes =
        [(QueueAttributeName::RedrivePolicy, policy.as_str()), (QueueAttributeName::VisibilityTimeout, "0")];
    (create(endpoint, name, &attributes).await, dead)
}

/// A message of a group with its own deduplication id.
pub fn message(body: &str, group: &str) -> Outgoing {
    Outgoing {
        body: body.to_owned(),
        group: Some(group.to_owned()),
        deduplication: Some(format!("id-{body}")),
        ..Outgoing::default()
    }
}
