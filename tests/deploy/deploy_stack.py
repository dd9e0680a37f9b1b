"""Deploys the template on an emulator, with a program of ours as its functions; prints the outputs and the functions' names as JSON."""

import io
import json
import sys
import time
import zipfile

import botocore.config
import botocore.session

endpoint, path, name, program, mapping, parameters = sys.argv[1:]
session = botocore.session.Session()
session.set_credentials("test", "test")


def client(service):
    s3 = {"addressing_style": "path"} if service == "s3" else {}
    config = botocore.config.Config(s3=s3, retries={"max_attempts": 1})
    return session.create_client(service, region_name="us-east-1", endpoint_url=endpoint, config=config)


archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as zipped:
    # The program itself, as it lies there: with what a debugger needs it is larger than a function may be.
    zipped.writestr("bootstrap", f"#!/bin/sh\nexec '{program}'\n")
    zipped.writestr("mapping.toml", mapping)
s3, stacks = client("s3"), client("cloudformation")
code = f"code-{name}"
s3.create_bucket(Bucket=code)
s3.put_object(Bucket=code, Key="deltafold-lambda-arm64.zip", Body=archive.getvalue())
with open(path, encoding="utf-8") as file:
    body = file.read()
given = {"CodeBucket": code, "Architecture": "x86_64", **json.loads(parameters)}
stacks.create_stack(
    StackName=name,
    TemplateBody=body,
    Capabilities=["CAPABILITY_IAM"],
    Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
)
for _ in range(600):
    (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
    if not stack["StackStatus"].endswith("IN_PROGRESS"):
        break
    time.sleep(0.1)
assert stack["StackStatus"] == "CREATE_COMPLETE", stack
print(json.dumps({output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}))
