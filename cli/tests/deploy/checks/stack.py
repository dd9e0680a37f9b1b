"""The template on an emulator: clients of its services, and stacks."""

import io
import sys
import time
import zipfile

import botocore.config
import botocore.session

CODE = "deltafold-lambda-arm64.zip"


def clients(endpoint, *services):
    session = botocore.session.Session()
    session.set_credentials("test", "test")

    def client(service):
        s3 = {"addressing_style": "path"} if service == "s3" else {}
        config = botocore.config.Config(s3=s3, retries={"max_attempts": 1})
        return session.create_client(service, region_name="us-east-1", endpoint_url=endpoint, config=config)

    return [client(service) for service in services]


def put_code(s3, bucket, files):
    """Makes a bucket with the functions' code: a program and what lies beside it, by name."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key=CODE, Body=archive.getvalue())


def create(stacks, path, name, parameters):
    """Makes a stack of the template, waits until it is there, and returns its outputs."""
    with open(path, encoding="utf-8") as file:
        body = file.read()
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
        raise AssertionError((name, stack["StackStatus"], stack.get("StackStatusReason")))
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
