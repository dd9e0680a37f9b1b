"""A run of the Pulumi program with Pulumi's own mocks, for one source and one choice of a server, against the same rules as the template."""

import json
import os
import runpy
import sys

import pulumi

from model import Model
from rules import broken

program, source, serve = sys.argv[1:]
resources = []


def shown(value):
    """A value without the marks of secrets."""
    if isinstance(value, dict):
        return shown(value["value"]) if SECRET in value else {name: shown(one) for name, one in value.items()}
    return [shown(one) for one in value] if isinstance(value, list) else value


# The key by which Pulumi marks a secret, here the tokens of clients.
SECRET = "4dabf18193072939515e22adb298388d"


class Mocks(pulumi.runtime.Mocks):
    def new_resource(self, args):
        resources.append((args.typ, args.name, shown(args.inputs)))
        outputs = {"arn": f"arn:{args.name}", "name": args.name, "url": f"https://{args.name}", "streamArn": f"arn:{args.name}/stream"}
        return args.name, {**outputs, **args.inputs}

    def call(self, args):
        return {"region": "us-east-1", "name": "us-east-1", "accountId": "1", "partition": "aws"}


pulumi.runtime.set_mocks(Mocks(), project="deltafold", stack="test", preview=False)
NAMED = {"operator": "true", "exportsBucket": "exports", "exportsPrefix": "daily", "stateMachineArn": "arn:aws:states:us-east-1:1:stateMachine:fill"}
settings = {"source": source, "collection": "c", "headsTable": "heads", "objectsBucket": "uploads", "zip": program + "/requirements.txt", "serve": serve, "serveTokens": "t"}
if source == "kinesis":
    settings["streamArn"] = "arn:aws:kinesis:us-east-1:1:stream/s"
# The policy for people goes with some of the sources. It names the program's own table, or another.
operator = None
if source != "kinesis":
    own = source in ("stream", "forwarder")
    settings |= NAMED | ({} if own else {"scannedTable": "lines"})
    operator = {"exports": "exports/daily", "machine": NAMED["stateMachineArn"], "table": "arn:table" if own else "arn:aws:dynamodb:us-east-1:1:table/lines"}
pulumi.runtime.set_all_config({f"deltafold:{name}": value for name, value in settings.items()})


@pulumi.runtime.test
def run():
    runpy.run_path(os.path.join(program, "__main__.py"), run_name="__main__")


run()
found = broken(Model.of_pulumi(resources), source, serve, operator)
assert not found, (source, serve, found)
print(json.dumps({"resources": len(resources)}))
