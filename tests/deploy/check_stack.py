"""The template, deployed on an emulator for every source: the resources are there and are what they are to be."""

import io
import json
import sys
import time
import zipfile

import botocore.config
import botocore.session

endpoint, path = sys.argv[1], sys.argv[2]
session = botocore.session.Session()
session.set_credentials("test", "test")


def client(service):
    s3 = {"addressing_style": "path"} if service == "s3" else {}
    config = botocore.config.Config(s3=s3, retries={"max_attempts": 1})
    return session.create_client(service, region_name="us-east-1", endpoint_url=endpoint, config=config)


s3, sqs, functions, stacks = (client(name) for name in ("s3", "sqs", "lambda", "cloudformation"))
archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as zipped:
    zipped.writestr("bootstrap", "#!/bin/sh\n")
s3.create_bucket(Bucket="code")
s3.put_object(Bucket="code", Key="deltafold-lambda-arm64.zip", Body=archive.getvalue())
with open(path, encoding="utf-8") as file:
    body = file.read()
stacks.validate_template(TemplateBody=body)


def deploy(source):
    name = f"stack-{source}"
    parameters = {"Source": source, "Collection": "c", "CodeBucket": "code"}
    stacks.create_stack(
        StackName=name,
        TemplateBody=body,
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    for _ in range(600):
        (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            break
        time.sleep(0.1)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        for event in stacks.describe_stack_events(StackName=name)["StackEvents"]:
            if "FAILED" in event["ResourceStatus"]:
                print(event["LogicalResourceId"], event.get("ResourceStatusReason"), file=sys.stderr)
        raise AssertionError((source, stack["StackStatus"], stack.get("StackStatusReason")))
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    made = stacks.describe_stack_resources(StackName=name)["StackResources"]
    return outputs, {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in made}


for source in ("stream", "forwarder", "fifo", "standard"):
    outputs, made = deploy(source)
    assert outputs["Store"].startswith("s3://") and "/deltafold?region=us-east-1" in outputs["Store"], outputs
    assert ("Table" in made) == (source in ("stream", "forwarder")), made
    assert ("Forward" in made) == (source == "forwarder"), made
    assert ("FifoQueue" in made) == (source in ("forwarder", "fifo")), made
    for name in {"Ingest", "Compact", "Forward"} & made.keys():
        found = functions.get_function_configuration(FunctionName=made[name])
        assert found["Runtime"] == "provided.al2023" and found["Architectures"] == ["arm64"], found
        assert found["Environment"]["Variables"]["DELTAFOLD_FUNCTION"] == name.lower(), found
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
