"""The table of a comparison, in Markdown."""

import statistics

OURS, THEIRS = "deltafold serve", "chroma run"


def _at(report, *keys):
    for key in keys:
        report = report.get(key) if isinstance(report, dict) else None
    return report


# A row: its name, the figure of a report, and its form.
def rows():
    yield "start to the heartbeat, empty", lambda r: _at(r, "start_empty_seconds"), "{:.2f} s"
    yield "start to the first answer", lambda r: statistics.median(r["restart_seconds"]), "{:.2f} s"
    yield "bring the records", lambda r: _at(r, "load_seconds"), "{:.1f} s"
    yield "recall of 10", lambda r: _at(r, "recall"), "{:.4f}"
    for clients in (1, 16):
        key, name = f"queries_{clients}", f"queries, {clients} client{'s' if clients > 1 else ''}"
        yield f"{name}", lambda r, k=key: _at(r, k, "per_second"), "{:,.0f}/s"
        yield f"{name}: p50", lambda r, k=key: _at(r, k, "p50_ms"), "{:.2f} ms"
        yield f"{name}: p99", lambda r, k=key: _at(r, k, "p99_ms"), "{:.2f} ms"
    for size in (1, 100, 1_000):
        key, name = f"upserts_{size}", f"upserts in batches of {size:,}"
        yield f"{name}", lambda r, k=key: _at(r, k, "per_second"), "{:,.0f}/s"
        yield f"{name}: p99", lambda r, k=key: _at(r, k, "p99_ms"), "{:.2f} ms"
        yield f"queries beside them", lambda r, k=key: _at(r, k, "beside", "per_second"), "{:,.0f}/s"
        yield f"queries beside them: p99", lambda r, k=key: _at(r, k, "beside", "p99_ms"), "{:.2f} ms"
    yield "calls refused", lambda r: sum(r[k]["refused"] for k in r if k.startswith(("queries_", "upserts_"))), "{}"
    yield "memory, peak", lambda r: _at(r, "memory", "VmHWM"), "{:,.0f} MiB"
    yield "memory, peak of what is private", lambda r: _at(r, "memory", "RssAnonPeak"), "{:,.0f} MiB"
    yield "memory, peak of mapped files", lambda r: _at(r, "memory", "RssFilePeak"), "{:,.0f} MiB"
    yield "memory, private at the end", lambda r: _at(r, "memory", "RssAnon"), "{:,.0f} MiB"
    yield "memory, peak after a restart and one query", lambda r: _at(r, "memory_restarted", "VmHWM"), "{:,.0f} MiB"
    yield "disk", lambda r: _at(r, "disk_mib"), "{:,.0f} MiB"


def _value(figure, report):
    try:
        return figure(report)
    except (KeyError, TypeError, statistics.StatisticsError):
        return None


def goals(peers):
    """Each goal: what is compared, the ratio, and whether it is met."""
    ours, theirs = peers.get(OURS, {}), peers.get(THEIRS, {})

    def goal(name, figure, least=None, most=None):
        a, b = _value(figure, ours), _value(figure, theirs)
        if not a or not b:
            return f"| {name} | not measured | |"
        met = a / b >= least if least is not None else a / b <= most
        return f"| {name} | {a / b:.2f} | {'yes' if met else 'NO'} |"

    yield "| goal | measured, beside chroma run | met |"
    yield "|---|---|---|"
    for size in (1, 100, 1_000):
        yield goal(f"upserts in batches of {size:,}: at least 3 times", lambda r, s=size: r[f"upserts_{s}"]["per_second"], least=3)
    for clients in (1, 16):
        yield goal(f"queries of {clients} at a time: at least as many", lambda r, c=clients: r[f"queries_{c}"]["per_second"], least=1)
    yield goal("memory, peak: at most half", lambda r: r["memory"]["VmHWM"], most=0.5)
    recall = ours.get("recall")
    if recall is not None:
        yield f"| recall 1 | {recall:.4f} | {'yes' if recall >= 1 else 'NO'} |"


def markdown(whole):
    machine, peers = whole["machine"], whole["peers"]
    lines = [
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"load {machine['load']} before. {whole['records']:,} x {whole['dimension']}, {whole['metric']}: "
        f"{whole['about']}. Loads of {whole['seconds']:g} s, {whole['writers']} writers.",
        "",
        "| | " + " | ".join(peers) + " |",
        "|---" * (1 + len(peers)) + "|",
    ]
    for name, figure, form in rows():
        values = [_value(figure, report) for report in peers.values()]
        if any(value is not None for value in values):
            lines.append(f"| {name} | " + " | ".join("-" if v is None else form.format(v) for v in values) + " |")
    for name, report in peers.items():
        if "failed" in report:
            lines += ["", f"{name} failed: {report['failed']}"]
    if len(peers) > 1:
        lines += ["", *goals(peers)]
    return "\n".join(lines) + "\n"
