//! Envelopes and events that are not opened: their names, and what to do.

use super::{Members, cut};

/// Members that all stand in one kind of text, its name, and what to do about it.
type Kind = (&'static [&'static str], &'static str, &'static str);

const SEND_OPS: &str = "send its content as an op";

/// The first kind that fits counts.
const KINDS: [Kind; 22] = [
    (&["AlarmName", "NewStateValue"], "a CloudWatch alarm", "let the alarm notify people, not this queue"),
    (&["alarmArn", "alarmData"], "a CloudWatch alarm", "let the alarm start another function"),
    (&["awslogs"], "a batch of CloudWatch Logs", "subscribe another function to the log group"),
    (&["messageType", "logEvents"], "a batch of CloudWatch Logs", "subscribe another stream to the log group"),
    (&["specversion", "type"], "a CloudEvent", "send its `data` alone, as an op"),
    (
        &["payload", "schema"],
        "a change event of Debezium or Kafka Connect",
        "turn it into ops, for example by a transform of the connector",
    ),
    (
        &["before", "after", "op"],
        "a change event of Debezium",
        "turn it into ops: `after` as a `put`, a null `after` as a `delete`",
    ),
    (
        &["bootstrapServers", "records"],
        "an event of Kafka (MSK)",
        "let a function of your own send its records to a queue",
    ),
    (&["topic", "partition", "offset"], "a record of Kafka (MSK)", "send its value as an op"),
    (
        &["rmqMessagesByQueue"],
        "an event of RabbitMQ (Amazon MQ)",
        "let a function of your own send its messages to a queue",
    ),
    (
        &["messages", "eventSourceArn"],
        "an event of Amazon MQ",
        "let a function of your own send its messages to a queue",
    ),
    (
        &["deliveryStreamArn", "records"],
        "a batch of Data Firehose",
        "let Firehose write to a bucket, and name the objects",
    ),
    (
        &["requestContext", "requestPayload"],
        "a report of a failed invocation",
        "send the event in its `requestPayload`",
    ),
    (
        &["requestContext", "responseContext"],
        "a report of a failed batch of a stream",
        "read the records that it names from the stream; it does not hold them",
    ),
    (
        &["requestContext", "routeKey"],
        "a request of API Gateway or of a function URL",
        "let the integration send its body to the queue",
    ),
    (&["requestContext", "httpMethod"], "a request of API Gateway", "let the integration send its body to the queue"),
    (&["notificationType", "mail"], "a notification of SES", "let SES notify another queue"),
    (&["eventType", "mail"], "an event of SES", "let SES notify another queue"),
    (&["TaskToken"], "a task of Step Functions", "let the state send the op itself as the body"),
    (&["message", "subscription"], "a push of Google Pub/Sub", SEND_OPS),
    (&["content-encoding", "properties", "body"], "a task of Celery", "send ops by a plain client of SQS"),
    (&["eventType", "subject", "data"], "an event of Azure Event Grid", SEND_OPS),
];

/// Why this is not opened, if it is known.
pub(super) fn name(members: &Members<'_>) -> Option<String> {
    let known = KINDS.iter().find(|(names, ..)| names.iter().all(|name| members.has(name)));
    if let Some((_, what, remedy)) = known {
        return Some(format!("{what} holds no op; {remedy}"));
    }
    if let (Some(_), Some(_)) = (members.text("Id"), members.text("ReceiptHandle")) {
        return Some("a message as a client receives it holds no op; send its `Body` alone".to_owned());
    }
    let source = members.text("eventSource").or_else(|| members.text("EventSource"))?;
    Some(format!(
        "a record of `{}` holds no op; take messages of SQS, records of DynamoDB and Kinesis, notifications of SNS, or events of a bucket",
        cut(&source)
    ))
}

/// The same for an event of a service in EventBridge.
pub(super) fn of_event_bridge(source: &str, kind: &str) -> String {
    let (source, kind) = (cut(source), cut(kind));
    format!(
        "the EventBridge event `{kind}` of `{source}` holds no op; give the rule or the schedule an input that is one"
    )
}
