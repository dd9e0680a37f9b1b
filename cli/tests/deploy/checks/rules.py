"""What every deployment must keep, whatever it was written in."""

import json


def served(model, serve, rule):
    """The rules of the function that answers clients, and of what it changes elsewhere."""
    by_name = {function["variables"]["DELTAFOLD_FUNCTION"]: (name, function) for name, function in model.functions.items()}
    name, function = by_name.get("serve", (None, None))
    compact = by_name["compact"][1]["variables"]
    rule((compact["DELTAFOLD_COLLECTION"] == "*") == (serve != "no"), "compact finds the collections of clients, and only theirs")
    rule(bool(function) == (serve != "no"), "a server where one is chosen")
    rule(len(model.urls) == (serve != "no"), "one URL for the server")
    open_to_all = [one for one in model.permissions if one["by"] == "*"]
    if serve != "tokens":
        rule(not model.permissions, "without tokens nobody is let in by a permission")
    if not function:
        return
    variables = function["variables"]
    rule(variables["DELTAFOLD_AUTH"] == serve, "the server checks what was chosen")
    rule(bool(variables["DELTAFOLD_TOKENS"]) == (serve == "tokens"), "the server has tokens where they are chosen")
    rule(variables.get("DELTAFOLD_COMPACT_FUNCTION"), "the server has long logs folded elsewhere")
    rule("DELTAFOLD_COMPACT" not in variables, "the server does not fold")
    rule(function["timeout"] <= 900 and function["timeout"] >= 30, "the server has time for a query from nothing")
    rule(int(function["memory"]) >= 256, "the server has memory")
    for url in model.urls:
        rule(url["function"] == name and url["mode"] == "BUFFERED", "the URL is the server's, with whole answers")
        rule(url["auth"] == ("NONE" if serve == "tokens" else "AWS_IAM"), "the URL is open where the server checks tokens")
    if serve == "tokens":
        wanted = [("lambda:InvokeFunction", None, True), ("lambda:InvokeFunctionUrl", "NONE", None)]
        found = sorted(((one["action"], one["auth"], one["by_url"]) for one in open_to_all), key=str)
        rule(found == sorted(wanted, key=str), f"everyone may call by the URL, and in no other way: {found}")
        rule(all(one["function"] == name for one in model.permissions), "everyone may call the server alone")
    rule(any(alarm["metric"] == "Url5xxCount" for alarm in model.alarms), "an alarm on failed requests")


def operated(model, allowed, rule):
    """The rules of the policy for people. `allowed` names what it is for, beside store and queues; None where it is not wanted."""
    rule(bool(model.operators) == (allowed is not None), "a policy for operators where one is chosen")
    if not model.operators or allowed is None:
        return
    by_sid = {one["Sid"]: one for one in model.operators}
    for sid, action, resource in (
        ("ReadExports", "s3:GetObject", allowed.get("exports", "") + "/AWSDynamoDB/*"),
        ("ListExports", "s3:ListBucket", allowed.get("exports", "").split("/")[0]),
        ("ScanTheTable", "dynamodb:Scan", allowed.get("table")),
        ("StartTheStateMachine", "states:StartExecution", allowed.get("machine")),
    ):
        wanted = allowed.get({"ScanTheTable": "table", "StartTheStateMachine": "machine"}.get(sid, "exports"))
        found = by_sid.get(sid)
        rule(bool(found) == bool(wanted), f"{sid}: where it is named")
        if found:
            rule(found["Action"] == action, f"{sid}: allows {action} alone")
            rule(found["Resource"].split(":::")[-1] == resource, f"{sid}: on {resource} alone")
    queues = set(by_sid["LookAfterQueues"]["Resource"]) if "LookAfterQueues" in by_sid else set()
    wanted = {arn for arn, queue in model.queues.items() if "failed" not in queue["name"]}
    rule(queues == wanted, f"operators look after the queues that are there: {queues}")
    rule("sqs:PurgeQueue" in by_sid.get("LookAfterQueues", {"Action": ["sqs:PurgeQueue"]})["Action"], "a reset purges queues")
    store = by_sid.get("ReadAndWrite", {"Action": [], "Resource": ""})
    rule({"s3:GetObject", "s3:PutObject", "s3:DeleteObject"} <= set(store["Action"]) and store["Resource"].count("/") >= 2, "operators write below the prefix")
    rule("List" in by_sid and "Condition" not in by_sid["List"], "operators may list: without that an absent object is answered 403")
    for one in model.operators:
        actions = one["Action"] if isinstance(one["Action"], list) else [one["Action"]]
        rule(not any("*" in action for action in actions) and one["Resource"] != "*", f"{one['Sid']}: nothing by pattern")


def broken(model, source, serve="no", operator=None):
    """The rules that are broken, in words."""
    found = []

    def rule(holds, what):
        if not holds:
            found.append(what)

    reads_stream = source in ("stream", "forwarder", "kinesis")
    served(model, serve, rule)
    operated(model, operator, rule)
    kinds = sorted(function["variables"]["DELTAFOLD_FUNCTION"] for function in model.functions.values())
    wanted = sorted(["compact", "ingest"] + ["forward"] * (source == "forwarder") + ["serve"] * (serve != "no"))
    rule(kinds == wanted, f"each function knows which it is: {kinds}")
    for name, function in model.functions.items():
        rule(function["reserved"] is None, f"{name}: no reserved concurrency")
        rule(function["runtime"] == "provided.al2023", f"{name}: runtime")
        rule(function["log"] in model.logs, f"{name}: a log group of its own")
        rule(function["variables"].get("DELTAFOLD_STORE"), f"{name}: DELTAFOLD_STORE")
        is_server = function["variables"]["DELTAFOLD_FUNCTION"] == "serve"
        rule(is_server or function["variables"].get("DELTAFOLD_COLLECTION"), f"{name}: DELTAFOLD_COLLECTION")
    for name, days in model.logs.items():
        rule(days, f"{name}: logs are not kept for ever")

    for arn, queue in model.queues.items():
        rule(queue["name"].endswith(".fifo") == bool(queue["fifo"]), f"{arn}: the name says whether it is FIFO")
        rule(not queue["content_based"], f"{arn}: no content-based deduplication")
        if queue["dead"]:
            dead = model.queues[queue["dead"]]
            rule(queue["receives"] == 10, f"{arn}: maxReceiveCount 10")
            rule(bool(dead["fifo"]) == bool(queue["fifo"]), f"{arn}: dead letters of the same type")
            rule(dead["retention"] == 1_209_600, f"{arn}: dead letters are kept for 14 days")
            rule(queue["retention"] >= 864_000, f"{arn}: messages are kept for long")
            rule(any(a["of"] in (dead["name"], queue["dead"].removeprefix("arn:")) and a["threshold"] == 0 for a in model.alarms), f"{arn}: an alarm on its dead letters")
    rule(any(queue["dead"] for queue in model.queues.values()) == (source not in ("stream", "kinesis")), "a queue where one is chosen")

    rule(len(model.mappings) == (2 if source == "forwarder" else 1), "one mapping a reader")
    for mapping in model.mappings:
        what = f"{mapping['source']} to {mapping['function']}"
        rule(mapping["responses"] == ["ReportBatchItemFailures"], f"{what}: partial batch responses")
        queue = model.queues.get(mapping["source"])
        if queue:
            function = model.functions[mapping["function"]]
            rule(queue["visibility"] >= 6 * function["timeout"], f"{what}: visibility at least 6 times the function's time")
            rule((mapping["concurrency"] or 0) >= 2, f"{what}: maximum concurrency at least 2")
            if queue["fifo"]:
                rule(mapping["window"] is None, f"{what}: no window on FIFO")
                rule(mapping["batch"] <= 10, f"{what}: at most 10 on FIFO")
            else:
                rule(int(mapping["window"] or 0) >= 1, f"{what}: a window")
        else:
            rule(int(mapping["window"] or 0) == 20, f"{what}: a window of 20 s")
            rule(mapping["bisect"] is True, f"{what}: bisect on error")
            rule(0 < (mapping["retries"] or -1) <= 100, f"{what}: retries end")
            rule(0 < (mapping["age"] or -1) < 86_400, f"{what}: records are given up before the stream forgets them")
            rule(mapping["on_failure"] in model.queues, f"{what}: a destination for what failed")
    if reads_stream:
        rule(any(a["metric"] == "IteratorAge" for a in model.alarms), "an alarm on a late stream")
        failed = [arn for arn, queue in model.queues.items() if "failed" in queue["name"]]
        names = [model.queues[arn]["name"] for arn in failed] + [arn.removeprefix("arn:") for arn in failed]
        rule(any(a["of"] in names for a in model.alarms), "an alarm on failed batches")
    rule(len(model.alarms) <= 10, "as many alarms as are free")

    segments = [
        one
        for one in model.denied
        if one["Effect"] == "Deny" and one["Action"] == "s3:PutObject" and one["Resource"].endswith("/*/log/*")
    ]
    condition = {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}
    rule([one["Condition"] for one in segments] == [condition], "segments are written with a condition")
    rule(any(one["abort"] for one in model.lifecycle), "abandoned uploads go")
    rule(any(one["noncurrent"] for one in model.lifecycle), "noncurrent versions go")
    rule(not any(one["live"] for one in model.lifecycle), "live objects do not go by age")
    # The function reads objects of others only below the configured bucket and prefix. It does
    # nothing else there.
    ingest = next(function for function in model.functions.values() if function["variables"]["DELTAFOLD_FUNCTION"] == "ingest")
    objects = ingest["variables"].get("DELTAFOLD_OBJECTS", "")
    # The model gives the template's own bucket an ARN. A literal ARN is a foreign bucket.
    foreign = [one for one in model.roles if ":s3:::" in json.dumps(one)]
    wanted = [(["s3:GetObject", "s3:GetObjectVersion"], f"{objects.removeprefix('s3://')}/*")] if objects else []
    found_objects = [(one["Action"], one["Resource"].split(":::", 1)[1]) for one in foreign]
    rule(found_objects == wanted, f"objects are read where they may be named, and nowhere else: {found_objects}")
    rule(not objects or objects.removeprefix("s3://").count("/") >= 1, "objects lie under a prefix")
    readers = [one for one in model.roles if "kinesis:GetRecords" in one["Action"]]
    wanted = [mapping["source"] for mapping in model.mappings] if source == "kinesis" else []
    rule([one["Resource"] for one in readers] == wanted, "the Kinesis stream is read where it is chosen, and no other")
    lists = [one for one in model.roles if one["Action"] == "s3:ListBucket"]
    rule(len(lists) == (2 if serve == "no" else 3) and not any("Condition" in one for one in lists), "functions that append or fold may list: without that an absent object is answered 403")
    for one in model.roles:
        actions = one["Action"] if isinstance(one["Action"], list) else [one["Action"]]
        resources = one["Resource"] if isinstance(one["Resource"], list) else [one["Resource"]]
        rule(not any("*" in action for action in actions), f"{one.get('Sid')}: no action by pattern")
        rule(not any(resource == "*" for resource in resources), f"{one.get('Sid')}: no resource `*`")
        for action in actions:
            if action.startswith("s3:") and action.endswith("Object"):
                rule(not any(resource.count("/") < 2 for resource in resources), f"{one.get('Sid')}: objects under the prefix only")
        for action in ("s3:PutObject", "s3:DeleteObject"):
            if action in actions and "s3:DeleteObject" not in actions:
                rule(all(resource.endswith("/log/*") for resource in resources), f"{one.get('Sid')}: a function that appends writes segments only")
    return found
