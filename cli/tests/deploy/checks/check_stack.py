"""The template, deployed on an emulator for every source: the resources are there and are what they are to be."""

import json
import sys

import stack

endpoint, path = sys.argv[1:]
s3, sqs, functions, stacks, kinesis, iam = stack.clients(endpoint, "s3", "sqs", "lambda", "cloudformation", "kinesis", "iam")
stack.put_code(s3, "code", {"bootstrap": "#!/bin/sh\n"})
with open(path, encoding="utf-8") as file:
    stacks.validate_template(TemplateBody=file.read())


def deploy(source):
    name = f"stack-{source}"
    parameters = {"Source": source, "Collection": "c", "CodeBucket": "code"}
    if source == "forwarder":
        parameters |= {"Operator": "yes", "ExportsBucket": "exports"}
    if source == "kinesis":
        kinesis.create_stream(StreamName="changes", ShardCount=1)
        summary = kinesis.describe_stream_summary(StreamName="changes")["StreamDescriptionSummary"]
        parameters["StreamArn"] = summary["StreamARN"]
    outputs = stack.create(stacks, path, name, parameters)
    made = stacks.describe_stack_resources(StackName=name)["StackResources"]
    return outputs, {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in made}


for source in ("stream", "forwarder", "kinesis", "fifo", "standard"):
    outputs, made = deploy(source)
    assert outputs["Store"].startswith("s3://") and "/deltafold?region=us-east-1" in outputs["Store"], outputs
    assert ("Table" in made) == (source in ("stream", "forwarder")), made
    assert ("Forward" in made) == (source == "forwarder"), made
    assert ("FifoQueue" in made) == (source in ("forwarder", "fifo")), made
    for name in {"Ingest", "Compact", "Forward"} & made.keys():
        found = functions.get_function_configuration(FunctionName=made[name])
        assert found["Runtime"] == "provided.al2023" and found["Architectures"] == ["arm64"], found
        assert found["Environment"]["Variables"]["DELTAFOLD_FUNCTION"] == name.lower(), found
    assert ("OperatorPolicyArn" in outputs) == (source == "forwarder"), outputs
    if source == "forwarder":
        arn = outputs["OperatorPolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        document = json.loads(document) if isinstance(document, str) else document
        allowed = {one["Sid"]: one["Resource"] for one in document["Statement"]}
        assert allowed["ReadExports"] == "arn:aws:s3:::exports/AWSDynamoDB/*" and allowed["ScanTheTable"].endswith(made["Table"]), allowed
        assert "StartTheStateMachine" not in allowed and len(allowed["LookAfterQueues"]) == 2, allowed
    variables = functions.get_function_configuration(FunctionName=made["Ingest"])["Environment"]["Variables"]
    assert variables["DELTAFOLD_STORE"] == f"s3://{outputs['BucketName']}/deltafold", variables
    assert variables["DELTAFOLD_COMPACT_FUNCTION"] == made["Compact"], variables
    if "QueueUrl" in outputs:
        attributes = sqs.get_queue_attributes(QueueUrl=outputs["QueueUrl"], AttributeNames=["All"])["Attributes"]
        assert int(attributes["VisibilityTimeout"]) >= 360, attributes
        redrive = json.loads(attributes["RedrivePolicy"])
        assert int(redrive["maxReceiveCount"]) == 10, redrive
        dead = sqs.get_queue_attributes(QueueUrl=outputs["DeadLettersUrl"], AttributeNames=["All"])["Attributes"]
        assert redrive["deadLetterTargetArn"] == dead["QueueArn"] and dead["MessageRetentionPeriod"] == "1209600", dead
        assert (attributes.get("FifoQueue") == "true") == (source != "standard"), attributes
    mappings = functions.list_event_source_mappings()["EventSourceMappings"]
    ours = [mapping for mapping in mappings if f"stack-{source}" in mapping["FunctionArn"]]
    assert len(ours) == (2 if source == "forwarder" else 1), mappings
    policy = json.loads(s3.get_bucket_policy(Bucket=outputs["BucketName"])["Policy"])
    assert policy["Statement"][0]["Condition"]["Null"] == {"s3:if-none-match": "true"}, policy
    print(source, len(made), "resources")
