#!/usr/bin/env python3
"""Measures the peak memory of every command on two hard inputs, and prints Markdown tables.

    cargo build --release
    benches/memory.py                                    # both inputs in full: a few minutes, 8 GiB of disk
    benches/memory.py --scale 0.05                       # a quick run
    benches/memory.py --beside OLD-PROGRAM               # times and memory of another build beside it

Inputs:
  documents  one `.zst` file of 54 KB that holds 100 puts, each with a document of 15 MiB
  ops        1.2 million small puts, in an order that is not that of their ids

"Peak" is the largest resident set of the process, as the kernel reports it at the end (`ru_maxrss`).
It counts pages of mapped files, which the kernel may drop. "Anonymous" is memory of the process
alone; the script samples it every 5 ms. The exit code is 1 where a peak is over the bound: the
setting plus 64 MiB.

Needs Python 3.9 or later on Linux, and `zstd`; nothing else.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ALLOWANCE_MIB = 64
DOCUMENTS = 100
DOCUMENT_BYTES = 15 << 20
OPS = 1_200_000
NAME = "measured"


def documents(path, scale):
    """Writes the documents. Returns how many records there are, and the id of one of them."""
    count = max(2, round(DOCUMENTS * scale))
    zstd = subprocess.Popen(["zstd", "-q", "-f", "-o", path], stdin=subprocess.PIPE)
    # A child counts the memory of this process before it runs the program: nothing large is held.
    block = b"all work and no play " * 3_120
    for number in range(count):
        zstd.stdin.write(b'{"op":"put","id":"document-%04d","document":"' % number)
        for _ in range(DOCUMENT_BYTES // len(block)):
            zstd.stdin.write(block)
        zstd.stdin.write(b'"}\n')
    zstd.stdin.close()
    if zstd.wait():
        sys.exit("`zstd` failed")
    return count, "document-0001"


def ops(path, scale):
    """Writes the small ops. Returns how many records there are, and the id of one of them."""
    count = max(1_000, round(OPS * scale))
    step = 700_001  # A prime: every number below `count` comes once.
    with open(path, "w", encoding="ascii") as out:
        for number in range(count):
            n = number * step % count
            out.write('{"op":"put","id":"record-%08d","embedding":[%d,1],"metadata":{"n":%d}}\n' % (n, n % 97, n))
    return count, "record-00000001"


class Program:
    """One build of the program, with a store of its own."""

    def __init__(self, label, path, memory, folder):
        self.label, self.path = label, os.path.abspath(path)
        self.store = os.path.join(folder, label)
        known = self.help("--help") + self.help("append", "--help")
        self.options = ["--store", self.store]
        if "--memory" in known:
            self.options += ["--memory", "%dMiB" % memory]
        # The log has to stay as long as it is, or there is no tail to measure.
        self.keep_log = ["--when-behind", "go-on"] if "--when-behind" in known else []

    def help(self, *arguments):
        return subprocess.run([self.path, *arguments], capture_output=True, text=True, check=False).stdout

    def command(self, arguments):
        keep = self.keep_log if arguments[0] == "append" else []
        return [self.path, *self.options, *arguments, *keep]


class Sampler(threading.Thread):
    """Watches the anonymous memory of a process."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.ended = pid, 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.005):
            try:
                with open("/proc/%d/status" % self.pid, encoding="ascii", errors="replace") as status:
                    for line in status:
                        if line.startswith("RssAnon:"):
                            self.peak = max(self.peak, int(line.split()[1]))
            except OSError:
                return

    def end(self):
        self.ended.set()
        self.join()
        return self.peak / 1024


class Measured:
    """A finished process: seconds on the clock and of CPU, peak memory in MiB, exit code."""

    def __init__(self, seconds, cpu, peak, anonymous, code):
        self.seconds, self.cpu, self.peak, self.anonymous, self.code = seconds, cpu, peak, anonymous, code


def started(command, stdin=None, stdout=subprocess.DEVNULL):
    return subprocess.Popen(command, stdin=stdin or subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)


def finished(process, began, sampler):
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    anonymous = sampler.end()
    process.returncode = code = os.waitstatus_to_exitcode(status)
    said = process.stderr.read().decode(errors="replace")
    process.stderr.close()
    if code:
        print("%s: exit code %d: %s" % (" ".join(process.args), code, said.strip()), file=sys.stderr)
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, anonymous, code)


def run(command, stdin=None):
    began = time.monotonic()
    process = started(command, stdin)
    return finished(process, began, Sampler(process.pid))


def piped(first, second):
    """Runs `first | second`, and measures both."""
    began = time.monotonic()
    writer = started(first, stdout=subprocess.PIPE)
    reader = started(second, stdin=writer.stdout)
    writer.stdout.close()
    samplers = [Sampler(writer.pid), Sampler(reader.pid)]
    return finished(writer, began, samplers[0]), finished(reader, began, samplers[1])


def readers(one):
    return [
        ("count", ["count", NAME]),
        ("get of one record", ["--json", "get", NAME, one]),
        ("scan by id", ["scan", NAME]),
        ("scan by insertion", ["scan", NAME, "--order", "insertion"]),
        ("scan without embeddings and documents", ["scan", NAME, "--no-embeddings", "--no-documents"]),
        ("history", ["history", NAME]),
        ("status", ["status", NAME]),
        ("verify", ["verify", NAME]),
        ("verify --deep", ["verify", "--deep", NAME]),
    ]


def steps(path, one, line):
    """The commands of one input, in their order; two that are one pipe stand together."""
    scan = ["scan", NAME, "--as-ops"]
    copy = ["append", "copy", "-"]
    return (
        [
            ("create", ["create", NAME, "--dimension", "2"]),
            ("append of the input", ["append", NAME, path]),
            ("append of one line behind the tail", ["append", NAME, line]),
        ]
        + [(name + ", log not folded", command) for name, command in readers(one)]
        + [
            ("follow --until-end", ["follow", NAME, "--until-end"]),
            ("create of a copy", ["create", "copy", "--dimension", "2"]),
            (("scan --as-ops, into a pipe", "append, from that pipe"), (scan, copy)),
            ("compact of the copy", ["compact", "copy"]),
            ("compact", ["compact", NAME]),
            ("compact --merge-all", ["compact", NAME, "--merge-all"]),
        ]
        + [(name + ", folded", command) for name, command in readers(one)]
        + [
            ("pin", ["pin", NAME, "kept"]),
            ("append of the input again", ["append", NAME, path]),
            ("compact of the second half", ["compact", NAME]),
            ("unpin", ["unpin", NAME, "kept"]),
            ("sweep", ["sweep", NAME, "--keep-versions", "0", "--min-age", "0s"]),
            ("verify --deep at the end", ["verify", "--deep", NAME]),
        ]
    )


def measure(name, write, programs, arguments, folder):
    """Runs all commands on one input. Returns rows: the command, and what each program took."""
    path = os.path.join(folder, name + (".jsonl.zst" if write is documents else ".jsonl"))
    count, one = write(path, arguments.scale)
    line = os.path.join(folder, "line.jsonl")
    with open(line, "w", encoding="ascii") as out:
        out.write('{"op":"put","id":"zzz","document":"behind the tail"}\n')
    rows = []
    for label, command in steps(path, one, line):
        measured = []
        for program in programs:
            if isinstance(label, tuple):
                measured.append(piped(*(program.command(part) for part in command)))
            else:
                measured.append((run(program.command(command)),))
        for index, part in enumerate(label if isinstance(label, tuple) else (label,)):
            row = (part, [of[index] for of in measured])
            rows.append(row)
            print("%-10s %-50s %s" % (name, part, told(row[1])), file=sys.stderr, flush=True)
    for program in programs:
        shutil.rmtree(program.store, ignore_errors=True)
    return {"input": name, "records": count, "bytes": os.path.getsize(path), "rows": rows}


def told(measured):
    return "; ".join("%.0f MiB (%.0f), %.2f s" % (of.peak, of.anonymous, of.seconds) for of in measured)


def table(result, bound, programs):
    beside = len(programs) > 1
    head = ["command", "peak, MiB", "anonymous, MiB", "time, s", "CPU, s"]
    if beside:
        head += ["peak of the other, MiB", "time / other", "CPU / other"]
    head.append("peak <= %d MiB" % bound)
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for command, measured in result["rows"]:
        own = measured[0]
        cells = [command, "%.0f" % own.peak, "%.0f" % own.anonymous, "%.2f" % own.seconds, "%.2f" % own.cpu]
        if beside:
            other = measured[1]
            ratios = (own.seconds / max(other.seconds, 0.01), own.cpu / max(other.cpu, 0.01))
            cells += ["%.0f" % other.peak, *("%.2f" % ratio for ratio in ratios)]
        within = "yes" if own.peak <= bound else "NO"
        cells.append(within if own.code == 0 else within + ", exit code %d" % own.code)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine():
    model, total = platform.processor() or platform.machine(), 0
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    with open("/proc/meminfo", encoding="ascii") as lines:
        total = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:"))
    return "%s, %d cores, %d MiB of memory, Linux %s" % (model, os.cpu_count(), total // 1024, platform.release())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--program", default=os.path.join(here, "target", "release", "deltafold"))
    parser.add_argument("--beside", help="another build, to compare with")
    parser.add_argument("--memory", type=int, default=256, help="the setting, in MiB (256)")
    parser.add_argument("--scale", type=float, default=1.0, help="the part of the inputs to use (1.0)")
    parser.add_argument("--input", choices=["documents", "ops"], action="append", help="only this input")
    parser.add_argument("--folder", help="where inputs and stores go (a temporary folder)")
    parser.add_argument("--json", help="a file for the figures")
    arguments = parser.parse_args()
    for program in filter(None, (arguments.program, arguments.beside)):
        if not os.access(program, os.X_OK):
            sys.exit("`%s` is not a program; build it with `cargo build --release`, or name one with --program" % program)
    bound = arguments.memory + ALLOWANCE_MIB
    kinds = {"documents": documents, "ops": ops}
    results = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        programs = [Program("measured", arguments.program, arguments.memory, folder)]
        if arguments.beside:
            programs.append(Program("other", arguments.beside, arguments.memory, folder))
        for name in arguments.input or kinds:
            results.append(measure(name, kinds[name], programs, arguments, folder))
    print("%s; `--memory %dMiB`, scale %g.\n" % (machine(), arguments.memory, arguments.scale))
    over = False
    for result in results:
        print("%s: %d records, %d bytes of input\n" % (result["input"], result["records"], result["bytes"]))
        print(table(result, bound, programs) + "\n")
        over |= any(of[0].peak > bound or of[0].code for _, of in result["rows"])
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as out:
            json.dump(results, out, default=vars, indent=1)
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
