"""Deploys the template on an emulator, with a program of ours as its functions; prints the outputs and the functions' names as JSON."""

import json
import sys

import stack

endpoint, path, name, program, mapping, parameters = sys.argv[1:]
s3, stacks = stack.clients(endpoint, "s3", "cloudformation")
code = f"code-{name}"
# A script runs the program in its place. With debug symbols the program exceeds the limit of a
# function.
stack.put_code(s3, code, {"bootstrap": f"#!/bin/sh\nexec '{program}'\n", "mapping.toml": mapping})
given = {"CodeBucket": code, "Architecture": "x86_64", **json.loads(parameters)}
print(json.dumps(stack.create(stacks, path, name, given)))
