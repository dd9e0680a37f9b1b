"""The template against the rules, for every source; and against twins of it, each broken in one way, which the rules must find."""

import copy
import sys

from model import Model, load
from rules import broken

SOURCES = ("stream", "forwarder", "kinesis", "fifo", "standard")
KINESIS = {"StreamArn": "arn:aws:kinesis:us-east-1:1:stream/s"}
template = load(sys.argv[1])
checks = 0
for source in SOURCES:
    for more in ({}, {"StreamArn": "arn:aws:dynamodb:us-east-1:1:table/t/stream/1"}, {"HeadsTable": "heads"}, {"ObjectsBucket": "uploads"}, {"Serve": "iam"}, {"Serve": "tokens", "ServeTokens": "t"}):
        more = {**(KINESIS if source == "kinesis" else {}), **more}
        model = Model.of_template(template, {"Source": source, "Collection": "c", **more})
        found = broken(model, source, more.get("Serve", "no"))
        assert not found, (source, more, found)
        named = model.functions["Ingest"]["variables"]["DELTAFOLD_OBJECTS"]
        assert named == ("s3://uploads/bulk" if "ObjectsBucket" in more and source not in ("stream", "kinesis") else ""), (source, more, named)
        checks += 1
MACHINE = "arn:aws:states:us-east-1:1:stateMachine:fill"
NAMED = {"Operator": "yes", "ExportsBucket": "exports", "ExportsPrefix": "daily/t", "ScannedTable": "lines", "StateMachineArn": MACHINE}
SCANNED = "arn:<AWS::Partition>:dynamodb:<AWS::Region>:<AWS::AccountId>:table/lines"


def of_operator(source, more):
    """What the policy is for, by the parameters."""
    if more.get("Operator") != "yes":
        return None
    exports = "/".join(part for part in (more.get("ExportsBucket"), more.get("ExportsPrefix")) if part)
    own = "arn:Table" if source in ("stream", "forwarder") and "StreamArn" not in more else None
    table = SCANNED.replace("<", "${").replace(">", "}") if more.get("ScannedTable") else own
    return {name: value for name, value in (("exports", exports), ("table", table), ("machine", more.get("StateMachineArn"))) if value}


for source in SOURCES:
    for more in ({"Operator": "yes"}, {"Operator": "yes", "ExportsBucket": "exports"}, NAMED, {**NAMED, "Operator": "no"}):
        more = {**(KINESIS if source == "kinesis" else {}), **more}
        found = broken(Model.of_template(template, {"Source": source, "Collection": "c", **more}), source, operator=of_operator(source, more))
        assert not found, (source, more, found)
        checks += 1
assert template["Parameters"]["Operator"]["Default"] == "no", "nobody gets a policy unasked"
assert template["Parameters"]["Source"]["Default"] == "stream", "cheapest by default"
assert template["Parameters"]["WindowSeconds"]["Default"] == 20
assert template["Parameters"]["Serve"]["Default"] == "no" and template["Parameters"]["ServeTokens"]["NoEcho"], "nobody is let in unasked"
assert "ServeTokens" not in str(template["Outputs"]), "tokens are not shown"


def properties(name):
    return lambda t: t["Resources"][name]["Properties"]


def twin(source, what, change, **more):
    """Breaks one thing, and finds it said."""
    global checks
    other = copy.deepcopy(template)
    change(other)
    found = broken(Model.of_template(other, {"Source": source, "Collection": "c", **more}), source, more.get("Serve", "no"), of_operator(source, more))
    assert any(what in one for one in found), (source, what, found)
    checks += 1


def put(name, key, value):
    return lambda t: properties(name)(t).__setitem__(key, value)


def take(name, key):
    return lambda t: properties(name)(t).pop(key)


for source, what, change in [
    ("fifo", "6 times", put("FifoQueue", "VisibilityTimeout", 359)),
    ("standard", "6 times", put("Ingest", "Timeout", 90)),
    ("fifo", "no window on FIFO", put("FifoToIngest", "MaximumBatchingWindowInSeconds", 30)),
    ("fifo", "at most 10 on FIFO", put("FifoToIngest", "BatchSize", 11)),
    ("forwarder", "at least 2", put("FifoToIngest", "ScalingConfig", {"MaximumConcurrency": 1})),
    ("standard", "at least 2", take("StandardToIngest", "ScalingConfig")),
    ("fifo", "reserved", put("Ingest", "ReservedConcurrentExecutions", 1)),
    ("fifo", "content-based", put("FifoQueue", "ContentBasedDeduplication", True)),
    ("fifo", "maxReceiveCount", lambda t: properties("FifoQueue")(t)["RedrivePolicy"].__setitem__("maxReceiveCount", 3)),
    ("fifo", "same type", lambda t: properties("FifoQueue")(t)["RedrivePolicy"].__setitem__("deadLetterTargetArn", {"Fn::GetAtt": ["Plain", "Arn"]}) or t["Resources"].__setitem__("Plain", {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "p"}})),
    ("standard", "14 days", take("StandardDeadLetters", "MessageRetentionPeriod")),
    ("standard", "an alarm on its dead letters", lambda t: t["Resources"].pop("DeadLettersAlarm")),
    ("stream", "partial batch", take("StreamToIngest", "FunctionResponseTypes")),
    ("stream", "bisect", put("StreamToIngest", "BisectBatchOnFunctionError", False)),
    ("stream", "retries end", take("StreamToIngest", "MaximumRetryAttempts")),
    ("stream", "given up", take("StreamToIngest", "MaximumRecordAgeInSeconds")),
    ("stream", "destination", take("StreamToIngest", "DestinationConfig")),
    ("forwarder", "20 s", put("StreamToForward", "MaximumBatchingWindowInSeconds", 0)),
    ("stream", "late stream", lambda t: t["Resources"].pop("LateStreamAlarm")),
    ("stream", "failed batches", lambda t: t["Resources"].pop("DeadLettersAlarm")),
    ("stream", "kept for ever", take("IngestLog", "RetentionInDays")),
    ("stream", "log group", take("Compact", "LoggingConfig")),
    ("stream", "with a condition", lambda t: properties("BucketPolicy")(t)["PolicyDocument"]["Statement"].pop(0)),
    ("stream", "with a condition", lambda t: properties("BucketPolicy")(t)["PolicyDocument"]["Statement"][0]["Condition"].pop("Bool")),
    ("stream", "abandoned", lambda t: properties("Bucket")(t)["LifecycleConfiguration"]["Rules"].pop(0)),
    ("stream", "noncurrent", lambda t: properties("Bucket")(t)["LifecycleConfiguration"]["Rules"].pop(1)),
    ("stream", "by age", lambda t: properties("Bucket")(t)["LifecycleConfiguration"]["Rules"][0].__setitem__("ExpirationInDays", 30)),
    ("stream", "by pattern", lambda t: properties("CompactRole")(t)["Policies"][0]["PolicyDocument"]["Statement"][0].__setitem__("Action", "s3:*")),
    ("stream", "may list", lambda t: properties("IngestRole")(t)["Policies"][0]["PolicyDocument"]["Statement"][2].__setitem__("Condition", {"StringLike": {"s3:prefix": "d/*"}})),
    ("stream", "segments only", lambda t: properties("IngestRole")(t)["Policies"][0]["PolicyDocument"]["Statement"][0].__setitem__("Resource", "arn:aws:s3:::b/*")),
]:
    twin(source, what, change)


def read_kinesis(t):
    statements = properties("IngestRole")(t)["Policies"][0]["PolicyDocument"]["Statement"]
    return next(one for one in statements if one.get("Fn::If", [""])[0] == "IsKinesis")["Fn::If"]


twin("kinesis", "where it is chosen", lambda t: read_kinesis(t)[1].__setitem__("Resource", "arn:aws:kinesis:us-east-1:1:stream/t"), **KINESIS)
twin("kinesis", "where it is chosen", lambda t: read_kinesis(t).__setitem__(1, read_kinesis(t)[2]), **KINESIS)
twin("stream", "where it is chosen", lambda t: read_kinesis(t).__setitem__(2, {**read_kinesis(t)[1], "Resource": "arn:aws:kinesis:us-east-1:1:stream/s"}))
twin("kinesis", "one mapping a reader", lambda t: t["Resources"]["StreamToIngest"].__setitem__("Condition", "IsStream"), **KINESIS)


def read_objects(t):
    statements = properties("IngestRole")(t)["Policies"][0]["PolicyDocument"]["Statement"]
    return next(one for one in statements if one.get("Fn::If", [""])[0] == "HasObjects")["Fn::If"]


# The permission is wider than the configured prefix, allows more than reads, stands without a
# configured prefix, or is missing.
for change, more in [
    (lambda t: read_objects(t)[1].__setitem__("Resource", {"Fn::Sub": "arn:${AWS::Partition}:s3:::${ObjectsBucket}/*"}), {"ObjectsBucket": "uploads"}),
    (lambda t: read_objects(t)[1].__setitem__("Action", ["s3:GetObject", "s3:DeleteObject"]), {"ObjectsBucket": "uploads"}),
    (lambda t: read_objects(t).__setitem__(2, read_objects(t)[1]), {}),
    (lambda t: read_objects(t).__setitem__(1, read_objects(t)[2]), {"ObjectsBucket": "uploads"}),
]:
    twin("fifo", "objects are read where", change, **more)


def operator(t, sid):
    statements = properties("OperatorPolicy")(t)["PolicyDocument"]["Statement"]
    return next(one for one in (one.get("Fn::If", [None, one])[1] for one in statements) if one["Sid"] == sid)


for what, change, more in [
    ("where one is chosen", lambda t: t["Resources"]["OperatorPolicy"].pop("Condition"), {}),
    ("ReadExports: allows", lambda t: operator(t, "ReadExports").__setitem__("Action", ["s3:GetObject", "s3:PutObject"]), NAMED),
    ("ReadExports: on", lambda t: operator(t, "ReadExports").__setitem__("Resource", {"Fn::Sub": "arn:${AWS::Partition}:s3:::${ExportsBucket}/*"}), NAMED),
    ("ListExports: on", lambda t: operator(t, "ListExports").__setitem__("Resource", {"Fn::Sub": "arn:${AWS::Partition}:s3:::*"}), NAMED),
    ("ScanTheTable: on", lambda t: operator(t, "ScanTheTable").__setitem__("Resource", {"Fn::GetAtt": ["Table", "Arn"]}), NAMED),
    ("ScanTheTable: where", lambda t: t["Conditions"].__setitem__("HasScannedTable", {"Condition": "NamesScannedTable"}), {"Operator": "yes"}),
    ("StartTheStateMachine: allows", lambda t: operator(t, "StartTheStateMachine").__setitem__("Action", "states:*"), NAMED),
    ("StartTheStateMachine: where", lambda t: t["Conditions"].__setitem__("HasStateMachine", {"Condition": "HasExports"}), {"Operator": "yes", "ExportsBucket": "e"}),
    ("the queues that are there", lambda t: operator(t, "LookAfterQueues")["Resource"]["Fn::If"][1].pop(), NAMED),
    ("purges queues", lambda t: operator(t, "LookAfterQueues")["Action"].pop(), NAMED),
    ("below the prefix", lambda t: operator(t, "ReadAndWrite").__setitem__("Resource", {"Fn::Sub": "${Bucket.Arn}/*"}), NAMED),
    ("operators may list", lambda t: operator(t, "List").__setitem__("Condition", {"StringLike": {"s3:prefix": "d/*"}}), NAMED),
    ("nothing by pattern", lambda t: operator(t, "ReadAndWrite")["Action"].append("s3:*"), NAMED),
]:
    twin("forwarder", what, change, **more)


def serve_variables(t):
    return properties("ServeFunction")(t)["Environment"]["Variables"]


def serve_statement(t, number):
    return properties("ServeRole")(t)["Policies"][0]["PolicyDocument"]["Statement"][number]


TOKENS = {"Serve": "tokens", "ServeTokens": "t"}
for what, change, more in [
    ("open where", put("ServeUrl", "AuthType", "NONE"), {"Serve": "iam"}),
    ("open where", put("ServeUrl", "AuthType", "AWS_IAM"), TOKENS),
    ("without tokens", lambda t: t["Resources"]["ServeUrlForAll"].__setitem__("Condition", "Serves"), {"Serve": "iam"}),
    ("in no other way", take("ServeCallByUrl", "InvokedViaFunctionUrl"), TOKENS),
    ("in no other way", lambda t: t["Resources"].pop("ServeCallByUrl"), TOKENS),
    ("the server alone", put("ServeCallByUrl", "FunctionName", {"Ref": "Ingest"}), TOKENS),
    ("checks what was chosen", lambda t: serve_variables(t).__setitem__("DELTAFOLD_AUTH", "none"), TOKENS),
    ("has tokens", lambda t: serve_variables(t).__setitem__("DELTAFOLD_TOKENS", ""), TOKENS),
    ("folded elsewhere", lambda t: serve_variables(t).pop("DELTAFOLD_COMPACT_FUNCTION"), TOKENS),
    ("does not fold", lambda t: serve_variables(t).__setitem__("DELTAFOLD_COMPACT", "true"), TOKENS),
    ("whole answers", put("ServeUrl", "InvokeMode", "RESPONSE_STREAM"), TOKENS),
    ("query from nothing", put("ServeFunction", "Timeout", 3), TOKENS),
    ("collections of clients", lambda t: properties("Compact")(t)["Environment"]["Variables"].__setitem__("DELTAFOLD_COLLECTION", "c"), TOKENS),
    ("collections of clients", lambda t: properties("Compact")(t)["Environment"]["Variables"].__setitem__("DELTAFOLD_COLLECTION", "*"), {}),
    ("where one is chosen", lambda t: [t["Resources"][name].pop("Condition") for name in ("ServeFunction", "ServeLog", "ServeRole")], {}),
    ("under the prefix", lambda t: serve_statement(t, 0).__setitem__("Resource", {"Fn::Sub": "${Bucket.Arn}/*"}), {"Serve": "iam"}),
    ("by pattern", lambda t: serve_statement(t, 0).__setitem__("Action", "s3:*"), {"Serve": "iam"}),
    ("may list", lambda t: properties("ServeRole")(t)["Policies"][0]["PolicyDocument"]["Statement"].pop(1), {"Serve": "iam"}),
    ("failed requests", lambda t: t["Resources"].pop("ServeAlarm"), {"Serve": "iam"}),
]:
    twin("stream", what, change, **more)
print(f"{checks} checks")
