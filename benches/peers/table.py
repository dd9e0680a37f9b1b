"""The report as Markdown."""


def time_of(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds < 10 else f"{seconds:.0f} s"


def mib(size):
    return f"{size / 2**20:.0f} MiB"


def cell(report, work):
    """Time a query, and recall where it is not 1."""
    if work not in report:
        return "no"
    figure = report[work]
    recall = "" if figure["recall"] >= 1.0 else f", recall {figure['recall']:.3f}"
    return f"{time_of(figure['seconds'])}{recall}"


def rows_of(one):
    """The table of one data set."""
    yield "| peer | state | built in | one query | the fastest | CPU | to numpy | 32 at once, each | CPU | filtered 1 % | filtered 50 % |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for name, report in one["peers"].items():
        if "absent" in report:
            yield f"| {name} | {report['absent']} | | | | | | | | | |"
            continue
        ratio = report["one"].get("to_numpy")
        built = report["build_seconds"]
        cells = [
            f"{name} ({report['about']})",
            report["caches"],
            "-" if name.endswith("approximate") else f"{built:.1f} s",
            cell(report, "one"),
            time_of(report["one"]["least"]),
            time_of(report["one"]["cpu"]),
            "-" if ratio is None else f"1/{1 / ratio:.1f}" if ratio < 1 else f"{ratio:.1f}",
            cell(report, "batch"),
            time_of(report["batch"]["cpu"]),
            cell(report, "filtered 1 %"),
            cell(report, "filtered 50 %"),
        ]
        yield f"| {' | '.join(cells)} |"


def own(report):
    """What the table has no column for."""
    codes, memory = report["codes_bytes"], report["memory"]
    one, read, least = report["one"], report["read_codes_seconds"], report["read_codes_least"]
    yield (
        f"- All cores read the {mib(codes)} of 8-bit codes in {time_of(read)}, and {time_of(least)} at best. An exact "
        f"query takes {one['seconds'] / read:.2f} and {one['least'] / least:.2f} times that."
    )
    yield f"- An exact query reads {report['one']['rows_read']:.0f} rows in f32."
    for state, name in [("opened", "Memory with columns and codes warm"), ("after", "Memory after all queries")]:
        private, mapped = memory[state]["private"], memory[state]["mapped"]
        yield (
            f"- {name}: {mib(private)} private, and {mib(mapped)} resident of mapped files and the program "
            f"({(private + mapped) / codes:.2f} of the codes)."
        )
    yield (
        f"- Appended in {report['append_seconds']:.1f} s, compacted in {report['compact_seconds']:.1f} s; "
        f"{mib(report['disk_bytes'])} on disk."
    )
    refresh = report["refresh"]
    yield (
        f"- A refresh after ten ops and a query: {time_of(refresh['refresh_and_query'])}; "
        f"the query alone: {time_of(refresh['query'])}."
    )


def levels(report):
    """Recall of approximate searches by the number of candidates."""
    yield "| candidates | " + " | ".join(f"{level['candidates']}" for level in report["levels"]) + " |"
    yield "|---" * (1 + len(report["levels"])) + "|"
    yield "| recall | " + " | ".join(f"{level['recall']:.3f}" for level in report["levels"]) + " |"
    yield "| one query | " + " | ".join(time_of(level["seconds"]) for level in report["levels"]) + " |"


def cold(report):
    """Queries by what is held beforehand."""
    yield (
        f"Each request takes {report['latency_ms']} ms, and records have documents of {report['documents']} characters. "
        "To ten records with their documents, from opening the collection, or of an open one that is warm:"
    )
    yield ""
    yield "| peer | held beforehand | a query | GETs | bytes | recall |"
    yield "|---|---|---|---|---|---|"
    for row in report["rows"]:
        if "absent" in row:
            yield f"| {row['peer']} | {row['absent']} | | | | |"
        else:
            figures = f"{time_of(row['seconds'])} | {row['gets']:.0f} | {row['bytes'] / 1e6:.2f} MB | {row['recall']:.3f}"
            yield f"| {row['peer']} | {row['state']} | {figures} |"


def gets(report):
    """One record by its id, from nothing."""
    yield "One record by its id, with embedding and document, from opening the collection:"
    yield ""
    yield "| peer | not folded | a request takes | a get | GETs | bytes |"
    yield "|---|---|---|---|---|---|"
    for row in report["gets"]:
        behind = f"{row['segments']} segments" if row["segments"] else "-"
        yield (
            f"| {row['peer']} | {behind} | {row['latency_ms']} ms | {time_of(row['seconds'])} | {row['gets']:.0f} "
            f"| {row['bytes'] / 1e6:.2f} MB |"
        )


def markdown(report):
    machine, versions = report["machine"], report["versions"]
    lines = [
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"load {machine['load']} before the run; "
        + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
    ]
    for one in report["tables"]:
        lines.append("")
        if "absent" in one:
            lines.append(f"**{one['set']}**: {one['absent']}")
            continue
        lines.append(
            f"**{one['set']}**, {one['records']:,} x {one['dimension']}, {one['metric']}; {one['about']}. "
            f"Recall@{one['k']} of {one['queries']} queries; medians of {one['rounds']} rounds; seed {one['seed']}."
        )
        lines.append("")
        lines.extend(rows_of(one))
        deltafold = one["peers"].get("deltafold", {})
        if "codes_bytes" in deltafold:
            lines.append("")
            lines.extend(own(deltafold))
            lines.append("")
            lines.extend(levels(deltafold))
        if one.get("cold"):
            lines.append("")
            lines.extend(cold(one["cold"]))
            lines.append("")
            lines.extend(gets(one["cold"]))
    return "\n".join(lines) + "\n"
