"""What a deployment consists of, read from the CloudFormation template or from a run of the Pulumi program, in one form for the rules."""

import copy
import json

import yaml


class Loader(yaml.SafeLoader):
    pass


def _tag(loader, suffix, node):
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {name: value}


Loader.add_multi_constructor("!", _tag)


def load(path):
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, Loader)


class Template:
    """The template with its parameters filled in: `Arn` of X is `arn:X`, and a `Ref` of it `X`."""

    def __init__(self, template, parameters):
        self.template = template
        self.values = {name: given.get("Default", f"<{name}>") for name, given in template["Parameters"].items()}
        self.values.update(parameters)

    def condition(self, name):
        return self.truth(self.template["Conditions"][name])

    def truth(self, test):
        (kind, value), = test.items()
        if kind == "Condition":
            return self.condition(value)
        if kind == "Fn::Equals":
            return self.resolve(value[0]) == self.resolve(value[1])
        if kind == "Fn::Not":
            return not self.truth(value[0])
        if kind == "Fn::Or":
            return any(self.truth(one) for one in value)
        if kind == "Fn::And":
            return all(self.truth(one) for one in value)
        raise ValueError(kind)

    NOTHING = object()

    def resolve(self, value):
        if isinstance(value, list):
            return [one for one in map(self.resolve, value) if one is not self.NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (kind, given), = value.items()
            if kind == "Ref":
                return self.NOTHING if given == "AWS::NoValue" else self.values.get(given, given)
            if kind == "Fn::GetAtt":
                return f"arn:{given[0]}" if given[1].endswith("Arn") else given[0]
            if kind == "Fn::If":
                return self.resolve(given[1] if self.condition(given[0]) else given[2])
            if kind == "Fn::Sub":
                text = given
                for name, parameter in self.values.items():
                    text = text.replace("${" + name + "}", str(parameter))
                for name in self.template["Resources"]:
                    text = text.replace("${" + name + ".Arn}", f"arn:{name}").replace("${" + name + "}", name)
                return text
        resolved = {name: self.resolve(one) for name, one in value.items()}
        return {name: one for name, one in resolved.items() if one is not self.NOTHING}

    def resources(self):
        for name, resource in self.template["Resources"].items():
            if "Condition" not in resource or self.condition(resource["Condition"]):
                yield name, resource["Type"], self.resolve(copy.deepcopy(resource.get("Properties", {})))


class Model:
    def __init__(self):
        self.queues, self.functions, self.mappings = {}, {}, []
        self.logs, self.roles, self.denied, self.lifecycle, self.alarms = {}, [], [], [], []
        self.urls, self.permissions = [], []
        # Statements of policies for people.
        self.operators = []

    @classmethod
    def of_template(cls, template, parameters):
        model = cls()
        for name, kind, p in Template(template, parameters).resources():
            if kind == "AWS::SQS::Queue":
                model.queues[f"arn:{name}"] = {
                    "name": p["QueueName"],
                    "fifo": p.get("FifoQueue", False),
                    "content_based": p.get("ContentBasedDeduplication", False),
                    "visibility": p.get("VisibilityTimeout", 30),
                    "retention": p.get("MessageRetentionPeriod", 345600),
                    "dead": p.get("RedrivePolicy", {}).get("deadLetterTargetArn"),
                    "receives": p.get("RedrivePolicy", {}).get("maxReceiveCount"),
                }
            elif kind == "AWS::Lambda::Function":
                model.functions[name] = {
                    "timeout": p["Timeout"],
                    "memory": p["MemorySize"],
                    "reserved": p.get("ReservedConcurrentExecutions"),
                    "log": p.get("LoggingConfig", {}).get("LogGroup"),
                    "runtime": p["Runtime"],
                    "variables": p["Environment"]["Variables"],
                }
            elif kind == "AWS::Lambda::Url":
                model.urls.append({"auth": p["AuthType"], "function": p["TargetFunctionArn"].removeprefix("arn:"), "mode": p["InvokeMode"]})
            elif kind == "AWS::Lambda::Permission":
                model.permissions.append({
                    "action": p["Action"],
                    "by": p["Principal"],
                    "auth": p.get("FunctionUrlAuthType"),
                    "by_url": p.get("InvokedViaFunctionUrl"),
                    "function": p["FunctionName"],
                })
            elif kind == "AWS::Lambda::EventSourceMapping":
                model.mappings.append({
                    "function": p["FunctionName"],
                    "source": p["EventSourceArn"],
                    "batch": p["BatchSize"],
                    "window": p.get("MaximumBatchingWindowInSeconds"),
                    "responses": p.get("FunctionResponseTypes"),
                    "concurrency": p.get("ScalingConfig", {}).get("MaximumConcurrency"),
                    "bisect": p.get("BisectBatchOnFunctionError"),
                    "retries": p.get("MaximumRetryAttempts"),
                    "age": p.get("MaximumRecordAgeInSeconds"),
                    "on_failure": p.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"),
                })
            elif kind == "AWS::Logs::LogGroup":
                model.logs[name] = p.get("RetentionInDays")
            elif kind == "AWS::IAM::Role":
                for policy in p.get("Policies", []):
                    model.roles.extend(policy["PolicyDocument"]["Statement"])
            elif kind == "AWS::IAM::ManagedPolicy":
                model.operators.extend(p["PolicyDocument"]["Statement"])
            elif kind == "AWS::S3::BucketPolicy":
                model.denied.extend(p["PolicyDocument"]["Statement"])
            elif kind == "AWS::S3::Bucket":
                for rule in p["LifecycleConfiguration"]["Rules"]:
                    model.lifecycle.append({
                        "abort": rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
                        "noncurrent": rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays"),
                        "live": rule.get("ExpirationInDays") or rule.get("ExpirationDate"),
                    })
            elif kind == "AWS::CloudWatch::Alarm":
                (dimension,) = p["Dimensions"]
                model.alarms.append({"metric": p["MetricName"], "of": dimension["Value"], "threshold": p["Threshold"]})
        return model

    @classmethod
    def of_pulumi(cls, resources):
        model = cls()
        for kind, name, p in resources:
            if kind == "aws:sqs/queue:Queue":
                redrive = json.loads(p.get("redrivePolicy", "{}"))
                model.queues[f"arn:{name}"] = {
                    "name": p["name"],
                    "fifo": p.get("fifoQueue", False),
                    "content_based": p.get("contentBasedDeduplication", False),
                    "visibility": p.get("visibilityTimeoutSeconds", 30),
                    "retention": p.get("messageRetentionSeconds", 345600),
                    "dead": redrive.get("deadLetterTargetArn"),
                    "receives": redrive.get("maxReceiveCount"),
                }
            elif kind == "aws:lambda/function:Function":
                model.functions[f"arn:{name}"] = {
                    "timeout": p["timeout"],
                    "memory": p["memorySize"],
                    "reserved": p.get("reservedConcurrentExecutions"),
                    "log": p.get("loggingConfig", {}).get("logGroup"),
                    "runtime": p["runtime"],
                    "variables": p["environment"]["variables"],
                }
            elif kind == "aws:lambda/functionUrl:FunctionUrl":
                model.urls.append({"auth": p["authorizationType"], "function": f"arn:{p['functionName']}", "mode": p["invokeMode"]})
            elif kind == "aws:lambda/permission:Permission":
                model.permissions.append({
                    "action": p["action"],
                    "by": p["principal"],
                    "auth": p.get("functionUrlAuthType"),
                    "by_url": p.get("invokedViaFunctionUrl"),
                    "function": f"arn:{p['function']}",
                })
            elif kind == "aws:lambda/eventSourceMapping:EventSourceMapping":
                model.mappings.append({
                    "function": p["functionName"],
                    "source": p["eventSourceArn"],
                    "batch": p["batchSize"],
                    "window": p.get("maximumBatchingWindowInSeconds"),
                    "responses": p.get("functionResponseTypes"),
                    "concurrency": p.get("scalingConfig", {}).get("maximumConcurrency"),
                    "bisect": p.get("bisectBatchOnFunctionError"),
                    "retries": p.get("maximumRetryAttempts"),
                    "age": p.get("maximumRecordAgeInSeconds"),
                    "on_failure": p.get("destinationConfig", {}).get("onFailure", {}).get("destinationArn"),
                })
            elif kind == "aws:cloudwatch/logGroup:LogGroup":
                model.logs[p.get("name", name)] = p.get("retentionInDays")
            elif kind == "aws:iam/rolePolicy:RolePolicy":
                model.roles.extend(json.loads(p["policy"])["Statement"])
            elif kind == "aws:iam/policy:Policy":
                model.operators.extend(json.loads(p["policy"])["Statement"])
            elif kind == "aws:s3/bucketPolicy:BucketPolicy":
                model.denied.extend(json.loads(p["policy"])["Statement"])
            elif kind == "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration":
                for rule in p["rules"]:
                    expiration = rule.get("expiration", {})
                    model.lifecycle.append({
                        "abort": rule.get("abortIncompleteMultipartUpload", {}).get("daysAfterInitiation"),
                        "noncurrent": rule.get("noncurrentVersionExpiration", {}).get("noncurrentDays"),
                        "live": expiration.get("days") or expiration.get("date"),
                    })
            elif kind == "aws:cloudwatch/metricAlarm:MetricAlarm":
                (of,) = p["dimensions"].values()
                model.alarms.append({"metric": p["metricName"], "of": of, "threshold": p["threshold"]})
        return model
