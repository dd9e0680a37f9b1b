"""A run of the Pulumi program with Pulumi's own mocks, for one source, against the same rules as the template."""

import json
import os
import runpy
import sys

import pulumi

from model import Model
from rules import broken

program, source = sys.argv[1], sys.argv[2]
resources = []


class Mocks(pulumi.runtime.Mocks):
    def new_resource(self, args):
        resources.append((args.typ, args.name, args.inputs))
        outputs = {"arn": f"arn:{args.name}", "name": args.name, "url": f"https://{args.name}", "streamArn": f"arn:{args.name}/stream"}
        return args.name, {**outputs, **args.inputs}

    def call(self, args):
        return {"region": "us-east-1", "name": "us-east-1", "accountId": "1", "partition": "aws"}


pulumi.runtime.set_mocks(Mocks(), project="deltafold", stack="test", preview=False)
settings = {"source": source, "collection": "c", "headsTable": "heads", "objectsBucket": "uploads", "zip": program + "/requirements.txt"}
pulumi.runtime.set_all_config({f"deltafold:{name}": value for name, value in settings.items()})


@pulumi.runtime.test
def run():
    runpy.run_path(os.path.join(program, "__main__.py"), run_name="__main__")


run()
found = broken(Model.of_pulumi(resources), source)
assert not found, (source, found)
print(json.dumps({"resources": len(resources)}))
