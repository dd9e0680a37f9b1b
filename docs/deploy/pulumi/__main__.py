"""Deltafold on AWS: the same resources as ../template.yaml. ../README.md says what each choice costs."""

import pulumi
import pulumi_aws as aws

config = pulumi.Config("deltafold")
source = config.get("source") or "stream"
collection = config.require("collection")
prefix = config.get("prefix") or "deltafold"
mapping = config.get("mapping") or ""
objects_bucket = config.get("objectsBucket") or ""
objects_prefix = config.get("objectsPrefix") or "bulk"
heads_table = config.get("headsTable") or ""
stream_arn = config.get("streamArn") or ""
zip_path = config.get("zip") or "../../../target/deltafold-lambda-arm64.zip"
architecture = config.get("architecture") or "arm64"
window_seconds = config.get_int("windowSeconds") or 20
fold_minutes = config.get_int("foldMinutes") or 15
fold_segments = config.get_int("foldSegments") or 512
log_days = config.get_int("logDays") or 14
alarm_topic = config.get("alarmTopic") or ""
operator = config.get_bool("operator") or False
exports_bucket = config.get("exportsBucket") or ""
exports_prefix = config.get("exportsPrefix") or ""
scanned_table = config.get("scannedTable") or ""
state_machine_arn = config.get("stateMachineArn") or ""
serve = config.get("serve") or "no"
serve_tokens = (config.get_secret("serveTokens") or "") if serve == "tokens" else ""
serve_memory = config.get_int("serveMemory") or 1769
serve_disk = config.get_int("serveDisk") or 512

if source not in ("stream", "forwarder", "kinesis", "fifo", "standard"):
    raise ValueError(f"deltafold:source is `{source}`; expected stream, forwarder, kinesis, fifo or standard")

if source == "kinesis" and not stream_arn:
    raise ValueError("deltafold:source is `kinesis`; name the Kinesis data stream in deltafold:streamArn")

if serve not in ("no", "iam", "tokens"):
    raise ValueError(f"deltafold:serve is `{serve}`; expected no, iam or tokens")

reads_table = source in ("stream", "forwarder")
reads_stream = reads_table or source == "kinesis"
has_fifo = source in ("forwarder", "fifo")
stack = f"{pulumi.get_project()}-{pulumi.get_stack()}"

DAYS_14 = 1_209_600
# Six times the function's time, and the window.
INGEST_SECONDS, VISIBILITY = 60, 400


def allow(sid, actions, resources):
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def policy(*statements):
    """A policy document; statements may hold outputs, and None where a choice leaves one out."""
    document = {"Version": "2012-10-17", "Statement": [one for one in statements if one]}
    return pulumi.Output.json_dumps(document)


def role(name, service, statements):
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    made = aws.iam.Role(name, assume_role_policy=policy(trust))
    aws.iam.RolePolicy(name, role=made.id, policy=policy(*statements))
    return made


# ---- The bucket ----
bucket = aws.s3.Bucket("bucket", opts=pulumi.ResourceOptions(protect=True))
aws.s3.BucketPublicAccessBlock(
    "bucket",
    bucket=bucket.id,
    block_public_acls=True,
    block_public_policy=True,
    ignore_public_acls=True,
    restrict_public_buckets=True,
)
versioning = aws.s3.BucketVersioning(
    "bucket", bucket=bucket.id, versioning_configuration={"status": "Enabled"}
)
# Live objects are never expired by age: sweep owns them.
aws.s3.BucketLifecycleConfiguration(
    "bucket",
    bucket=bucket.id,
    rules=[
        {"id": "abandoned-uploads", "status": "Enabled", "filter": {}, "abort_incomplete_multipart_upload": {"days_after_initiation": 2}},
        {
            "id": "old-versions",
            "status": "Enabled",
            "filter": {},
            "noncurrent_version_expiration": {"noncurrent_days": 7},
            "expiration": {"expired_object_delete_marker": True},
        },
    ],
    opts=pulumi.ResourceOptions(depends_on=[versioning]),
)
aws.s3.BucketPolicy(
    "bucket",
    bucket=bucket.id,
    policy=policy(
        {
            "Sid": "SegmentsAreCreatedOnce",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": pulumi.Output.concat(bucket.arn, "/", prefix, "/*/log/*"),
            # True for a request that makes an object. The completion of a multipart upload is one
            # and carries the condition. Its start and its parts are none.
            "Condition": {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}},
        },
        {
            "Sid": "OnlyEncryptedConnections",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    ),
)
under = pulumi.Output.concat(bucket.arn, "/", prefix)
store = pulumi.Output.concat("s3://", bucket.id, "/", prefix)

# ---- The table ----
table = None
if reads_table and not stream_arn:
    table = aws.dynamodb.Table(
        "table",
        billing_mode="PAY_PER_REQUEST",
        attributes=[{"name": "PK", "type": "S"}, {"name": "SK", "type": "S"}],
        hash_key="PK",
        range_key="SK",
        stream_enabled=True,
        stream_view_type="NEW_AND_OLD_IMAGES",
        point_in_time_recovery={"enabled": True},
        opts=pulumi.ResourceOptions(protect=True),
    )
stream = table.stream_arn if table else stream_arn


# ---- Queues ----
def queue(name, ending, fifo, **more):
    return aws.sqs.Queue(
        name,
        name=f"{stack}{ending}",
        # The id is the event's own. A hash of the content would lose the last of the states
        # A, B, A.
        **({"fifo_queue": True, "content_based_deduplication": False} if fifo else {}),
        sqs_managed_sse_enabled=True,
        **more,
    )


def redrive(dead_letters):
    return pulumi.Output.json_dumps({"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": 10})


feed = dead = failed_batches = None
if has_fifo:
    dead = queue("fifo-dead-letters", "-dead.fifo", True, message_retention_seconds=DAYS_14)
    feed = queue(
        "fifo",
        ".fifo",
        True,
        visibility_timeout_seconds=VISIBILITY,
        message_retention_seconds=DAYS_14,
        redrive_policy=redrive(dead),
    )
elif source == "standard":
    dead = queue("dead-letters", "-dead", False, message_retention_seconds=DAYS_14)
    # Kept for less than dead letters: those of a standard queue keep the date of their sending.
    feed = queue(
        "standard",
        "",
        False,
        visibility_timeout_seconds=VISIBILITY,
        message_retention_seconds=864_000,
        redrive_policy=redrive(dead),
    )
if reads_stream:
    # Batches that a stream's reader gave up on: shard and range, not the records. The stream keeps
    # those for 24 hours.
    failed_batches = queue("failed-batches", "-failed-batches", False, message_retention_seconds=DAYS_14)

# Objects that messages may name; none where no bucket is.
objects = f"{objects_bucket}/{objects_prefix}" if feed and objects_bucket else ""
READ_STREAM = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]
if source == "kinesis":
    READ_STREAM = ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]


def table_arn(name):
    region, account = aws.get_region().region, aws.get_caller_identity().account_id
    return f"arn:{aws.get_partition().partition}:dynamodb:{region}:{account}:table/{name}"


heads = table_arn(heads_table) if heads_table else None


# ---- Functions ----
def function(name, what, statements, variables, memory, seconds, **more):
    log = aws.cloudwatch.LogGroup(name, retention_in_days=log_days)
    writes = allow("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], pulumi.Output.concat(log.arn, ":*"))
    made = role(name, "lambda.amazonaws.com", [*statements, writes])
    # No reserved concurrency. A limit of 1 throttles the queue's pollers, and good messages end as
    # dead letters.
    return aws.lambda_.Function(
        name,
        description=what,
        runtime="provided.al2023",
        handler="bootstrap",
        architectures=[architecture],
        code=pulumi.FileArchive(zip_path),
        role=made.arn,
        memory_size=memory,
        timeout=seconds,
        logging_config={"log_format": "JSON", "system_log_level": "WARN", "log_group": log.name},
        environment={
            "variables": {"DELTAFOLD_FUNCTION": name, "DELTAFOLD_STORE": store, "DELTAFOLD_COLLECTION": collection}
            | variables
        },
        **more,
    )


compact = function(
    "compact",
    "Folds the log of a collection into its snapshot",
    [
        allow(
            "FoldAndSweep",
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            # Clients of the server make collections, so their names are not known here.
            pulumi.Output.concat(under, "/*") if serve != "no" else pulumi.Output.concat(under, "/", collection, "/*"),
        ),
        allow("List", "s3:ListBucket", bucket.arn),
        allow("ListUploads", "s3:ListBucketMultipartUploads", bucket.arn),
        allow("SwapHeads", ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Query"], heads) if heads else None,
    ],
    # A star stands for every collection of the store.
    {"DELTAFOLD_COLLECTION": "*"} if serve != "no" else {},
    1024,
    600,
)
ingest = function(
    "ingest",
    "Appends changes to the log of a collection",
    [
        allow("Append", "s3:PutObject", pulumi.Output.concat(under, "/", collection, "/*/log/*")),
        allow("Read", "s3:GetObject", pulumi.Output.concat(under, "/*")),
        # Without the right to list, S3 answers a GET of an absent object with 403, not 404.
        # Such a GET carries no prefix, so this statement has no condition.
        allow("FindTheTail", "s3:ListBucket", bucket.arn),
        allow("AskForAFold", "lambda:InvokeFunction", compact.arn),
        allow("ReadTheStream", READ_STREAM, stream) if source in ("stream", "kinesis") else None,
        allow("ReportWhatFailed", "sqs:SendMessage", failed_batches.arn) if source in ("stream", "kinesis") else None,
        allow(
            "ReadTheQueue",
            ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"],
            feed.arn,
        )
        if feed
        else None,
        allow("ReadObjects", ["s3:GetObject", "s3:GetObjectVersion"], f"arn:{aws.get_partition().partition}:s3:::{objects}/*") if objects else None,
        allow("ReadHeads", "dynamodb:GetItem", heads) if heads else None,
    ],
    {
        "DELTAFOLD_MAPPING": mapping,
        "DELTAFOLD_OBJECTS": f"s3://{objects}" if objects else "",
        "DELTAFOLD_COMPACT_FUNCTION": compact.name,
        "DELTAFOLD_FOLD_SEGMENTS": str(fold_segments),
        # The same number as in the queue's redrive policy.
        "DELTAFOLD_MAX_RECEIVES": "10",
    },
    256,
    INGEST_SECONDS,
)


def from_stream(name, reader):
    aws.lambda_.EventSourceMapping(
        name,
        function_name=reader.arn,
        event_source_arn=stream,
        starting_position="TRIM_HORIZON",
        batch_size=1000,
        maximum_batching_window_in_seconds=window_seconds,
        parallelization_factor=1,
        function_response_types=["ReportBatchItemFailures"],
        # A record that the function cannot take would block its shard until the stream drops it and
        # all records behind it.
        bisect_batch_on_function_error=True,
        maximum_retry_attempts=10,
        maximum_record_age_in_seconds=72_000,
        destination_config={"on_failure": {"destination_arn": failed_batches.arn}},
    )


if source in ("stream", "kinesis"):
    from_stream("stream-to-ingest", ingest)
elif source == "forwarder":
    forward = function(
        "forward",
        "Packs changes of a table into messages of a FIFO queue",
        [
            allow("ReadTheStream", READ_STREAM, stream),
            allow("Send", "sqs:SendMessage", [feed.arn, failed_batches.arn]),
            allow("ReadTheMapping", "s3:GetObject", pulumi.Output.concat(under, "/*")),
        ],
        {"DELTAFOLD_MAPPING": mapping, "DELTAFOLD_QUEUE": feed.url},
        256,
        INGEST_SECONDS,
    )
    from_stream("stream-to-forward", forward)
if has_fifo:
    # Ten at most and no window: a FIFO queue allows neither more nor any.
    aws.lambda_.EventSourceMapping(
        "fifo-to-ingest",
        function_name=ingest.arn,
        event_source_arn=feed.arn,
        batch_size=10,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config={"maximum_concurrency": 16},
    )
elif source == "standard":
    # The least concurrency that is allowed. More workers make more segments, and those cost.
    aws.lambda_.EventSourceMapping(
        "standard-to-ingest",
        function_name=ingest.arn,
        event_source_arn=feed.arn,
        batch_size=10_000,
        maximum_batching_window_in_seconds=window_seconds,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config={"maximum_concurrency": 2},
    )

aws.scheduler.Schedule(
    "compact",
    description="Folds what has gathered",
    schedule_expression=f"rate({fold_minutes} minutes)",
    flexible_time_window={"mode": "OFF"},
    target={
        "arn": compact.arn,
        "role_arn": role(
            "schedule", "scheduler.amazonaws.com", [allow("Invoke", "lambda:InvokeFunction", compact.arn)]
        ).arn,
        "retry_policy": {"maximum_retry_attempts": 2, "maximum_event_age_in_seconds": 600},
    },
)


# ---- The function that answers clients ----
server = None
if serve != "no":
    server = function(
        "serve",
        "Answers Chroma's clients over HTTP",
        [
            # Clients make, change and delete collections. Deletion takes their objects along.
            allow(
                "ReadAndWrite",
                ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
                pulumi.Output.concat(under, "/*"),
            ),
            allow("List", "s3:ListBucket", bucket.arn),
            allow("ListUploads", "s3:ListBucketMultipartUploads", bucket.arn),
            allow("AskForAFold", "lambda:InvokeFunction", compact.arn),
            allow("SwapHeads", ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Query"], heads) if heads else None,
        ],
        {"DELTAFOLD_AUTH": serve, "DELTAFOLD_TOKENS": serve_tokens, "DELTAFOLD_COMPACT_FUNCTION": compact.name},
        serve_memory,
        # A query from nothing reads the codes of the whole collection.
        60,
        ephemeral_storage={"size": serve_disk},
    )
    url = aws.lambda_.FunctionUrl(
        "serve",
        function_name=server.name,
        authorization_type="NONE" if serve == "tokens" else "AWS_IAM",
        invoke_mode="BUFFERED",
    )
    pulumi.export("url", url.function_url)
    if serve == "tokens":
        # The service asks for both permissions. The function itself checks the tokens.
        aws.lambda_.Permission(
            "serve-url",
            function=server.name,
            action="lambda:InvokeFunctionUrl",
            principal="*",
            function_url_auth_type="NONE",
        )
        aws.lambda_.Permission(
            "serve-call", function=server.name, action="lambda:InvokeFunction", principal="*", invoked_via_function_url=True
        )

# ---- The policy of operators ----
if operator:
    exports = f"arn:{aws.get_partition().partition}:s3:::{exports_bucket}" if exports_bucket else ""
    below = "/".join(part for part in (exports, exports_prefix, "AWSDynamoDB/*") if part)
    scanned = table_arn(scanned_table) if scanned_table else table.arn if table else None
    for_operators = aws.iam.Policy(
        "operator",
        description="For deltafold backfill, deltafold reset and the chores of queues",
        policy=policy(
            allow(
                "ReadAndWrite",
                ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
                pulumi.Output.concat(under, "/*"),
            ),
            allow("List", "s3:ListBucket", bucket.arn),
            allow("ListUploads", "s3:ListBucketMultipartUploads", bucket.arn),
            allow("SwapHeads", ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Query"], heads) if heads else None,
            allow("ReadExports", "s3:GetObject", below) if exports else None,
            # Without the right to list, a missing file of an export is "denied".
            allow("ListExports", "s3:ListBucket", exports) if exports else None,
            allow("ScanTheTable", "dynamodb:Scan", scanned) if scanned else None,
            allow("StartTheStateMachine", "states:StartExecution", state_machine_arn) if state_machine_arn else None,
            allow(
                "LookAfterQueues",
                ["sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:PurgeQueue"],
                [feed.arn, dead.arn],
            )
            if feed
            else None,
        ),
    )
    pulumi.export("operatorPolicyArn", for_operators.arn)


# ---- Alarms ----
def alarm(name, what, namespace, metric, dimensions, statistic, threshold, period=300, periods=1):
    aws.cloudwatch.MetricAlarm(
        name,
        alarm_description=what,
        namespace=namespace,
        metric_name=metric,
        dimensions=dimensions,
        statistic=statistic,
        period=period,
        evaluation_periods=periods,
        threshold=threshold,
        comparison_operator="GreaterThanThreshold",
        treat_missing_data="notBreaching",
        alarm_actions=[alarm_topic] if alarm_topic else None,
    )


VISIBLE = "ApproximateNumberOfMessagesVisible"
if dead:
    what = "Something could not be understood or applied; `deltafold queue peek` shows what"
    alarm("dead-letters", what, "AWS/SQS", VISIBLE, {"QueueName": dead.name}, "Maximum", 0)
if failed_batches:
    what = "The stream's reader gave up on records; the stream keeps them for 24 hours"
    alarm("failed-batches", what, "AWS/SQS", VISIBLE, {"QueueName": failed_batches.name}, "Maximum", 0)
    what = "The stream's reader is an hour behind; after 24 hours changes are lost"
    reader = forward if source == "forwarder" else ingest
    alarm("late-stream", what, "AWS/Lambda", "IteratorAge", {"FunctionName": reader.name}, "Maximum", 3_600_000)
what = "Invocations are refused; on a queue each counts as a receive"
alarm("throttled", what, "AWS/Lambda", "Throttles", {"FunctionName": ingest.name}, "Sum", 0, periods=3)
what = "Folds fail; nothing is lost, but readers get slower"
alarm("folds", what, "AWS/Lambda", "Errors", {"FunctionName": compact.name}, "Sum", 2, period=3600)
if server:
    what = "Requests of clients fail with 5xx; the log of the function says why"
    alarm("serve", what, "AWS/Lambda", "Url5xxCount", {"FunctionName": server.name}, "Sum", 5)

pulumi.export("store", store)
pulumi.export("bucket", bucket.id)
pulumi.export("ingestFunction", ingest.name)
pulumi.export("compactFunction", compact.name)
if table:
    pulumi.export("table", table.name)
if feed:
    pulumi.export("queueUrl", feed.url)
    pulumi.export("deadLettersUrl", dead.url)
if failed_batches:
    pulumi.export("failedBatchesUrl", failed_batches.url)
