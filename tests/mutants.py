#!/usr/bin/env python3
"""Mutation testing with one build: all mutants in one program, each behind a switch.

    cargo install cargo-mutants --locked
    python3 tests/mutants.py deltafold-format
    python3 tests/mutants.py deltafold-format --file 'format/src/part/*'
    python3 tests/mutants.py deltafold --file 'src/reader/*' --sample 44 --seed 17 --programs lib,engine
    python3 tests/mutants.py deltafold-format --constants

`cargo mutants` builds the crate for each mutant. This script takes the same list and adds mutants of its own: each
check that ends in an error is left out once. It writes all of them into a copy of the commit at hand. There each
function asks a switch which of its bodies to run. Mutants that do not compile are dropped. Then each test runs once
and notes the functions it reaches, and each mutant meets the tests that reach its function, the fastest first.

Mutants of constants cannot have a switch. `--alone` builds and tests each of those by itself as well, `--constants`
only those.

The folder `target/mutants` keeps the copy, the list and the results. A run that was stopped goes on where it ended;
`--fresh` begins anew. Exit code 0 if every mutant was noticed, 1 if one was not.
"""

import argparse
import collections
import fnmatch
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

SWITCH = """
#[allow(warnings, clippy::all)]
pub(crate) fn mutant_on(function: u32) -> u32 {
    use std::io::Write;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    static ON: LazyLock<u32> =
        LazyLock::new(|| std::env::var("MUTANT").ok().and_then(|number| number.parse().ok()).unwrap_or(0));
    static REACHED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("REACHED").ok());
    static SEEN: [AtomicBool; 1 << 16] = [const { AtomicBool::new(false) }; 1 << 16];
    let seen = &SEEN[function as usize % SEEN.len()];
    if !seen.load(Ordering::Relaxed) && !seen.swap(true, Ordering::Relaxed) {
        if let Some(file) = &*REACHED {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
            file.write_all(format!("{function}\\n").as_bytes()).unwrap();
        }
    }
    *ON
}
"""
ALLOW = "#![allow(warnings, arithmetic_overflow, unconditional_panic, unconditional_recursion)]\n"

# A comment, a string, a character, a bracket, or a run of anything else.
TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|b?r(#*)\".*?\"\1|b?\"(?:\\.|[^\"\\])*\"|b?'(?:\\[^\n]*?|[^\\'\n])'"
    r"|[{}()\[\]]|[^\"'{}()\[\]/br]+|.",
    re.S,
)
# A guard that ends in an error, and the call of a rule.
GUARD = re.compile(
    r"\bif ((?:(?!\blet\b)[^{};])+?) \{\s*(?:(?://[^\n]*|let \w+ =[^;]*;)\s*)*"
    r"return (?:Err|invalid|refuse|corrupt|refused|count_error)\b"
)
RULE = re.compile(r"(?<![\w.])require\(")
BOXED = re.compile(r"->\s*impl\s+((?:Iterator|ExactSizeIterator|DoubleEndedIterator)<.*>)(?:\s*\+\s*'\w+)?\s*$", re.S)
# Tests of these take long, or depend on the machine.
SKIPPED = ("soak", "real_data", "model_tests", "ministack", "tiny_memory", "power_loss_all")
# Longest time for the tests of one mutant, as measured without a mutant.
BUDGET = 120.0


def closing(text, start):
    """The place behind the bracket that closes the one at `start`."""
    depth, at = 0, start
    while at < len(text):
        token = TOKEN.match(text, at)
        if token.group(0) in "([{":
            depth += 1
        elif token.group(0) in ")]}":
            depth -= 1
            if depth == 0:
                return token.end()
        at = token.end()
    raise ValueError("a bracket is not closed")


def body_of(text, start, end):
    """The places of the outer braces of the function in text[start:end], the second one behind the brace."""
    at, found = start, None
    while at < end:
        token = TOKEN.match(text, at)
        if token.group(0) in "([{":
            behind = closing(text, at)
            if token.group(0) == "{":
                found = (at, behind)
            at = behind
        else:
            at = token.end()
    return found


class Mutants:
    def __init__(self, options):
        self.options = options
        self.folder = os.path.abspath("target/mutants")
        self.tree = os.path.join(self.folder, "tree")
        self.results = os.path.join(self.folder, "results.tsv")
        self.environment = {
            **os.environ,
            "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", os.path.abspath("target")),
            "RUST_MIN_STACK": str(16 << 20),
        }
        self.root = "format/src/lib.rs" if options.package == "deltafold-format" else "src/lib.rs"

    # The copy and the list.

    def copy(self):
        shutil.rmtree(self.tree, ignore_errors=True)
        os.makedirs(self.tree)
        archive = subprocess.run(["git", "archive", "HEAD"], stdout=subprocess.PIPE, check=True).stdout
        # Not the dates of the commit: cargo would take the files for older than what it has built.
        subprocess.run(["tar", "-x", "-m", "-C", self.tree], input=archive, check=True)
        self.write(".commit", subprocess.check_output(["git", "rev-parse", "HEAD"], text=True))

    def write(self, file, text):
        with open(os.path.join(self.tree, file), "w", encoding="utf-8") as out:
            out.write(text)

    def original(self, file):
        commit = open(os.path.join(self.tree, ".commit"), encoding="utf-8").read().strip()
        return subprocess.check_output(["git", "show", f"{commit}:{file}"], text=True)

    def list(self):
        """All mutants, numbered from 1: those of `cargo mutants`, and the checks that are left out."""
        command = [self.options.cargo_mutants, "mutants", "--list", "--json", "--package", self.options.package]
        listing = json.loads(subprocess.check_output(command, cwd=self.tree, text=True))
        functions = collections.defaultdict(dict)
        for mutant in listing:
            mutant.pop("diff", None)
            if mutant.get("function"):
                functions[mutant["file"]][json.dumps(mutant["function"]["span"])] = mutant["function"]
        for file, known in functions.items():
            listing += self.checks(file, list(known.values()))
        if self.options.file:
            listing = [m for m in listing if any(fnmatch.fnmatch(m["file"], glob) for glob in self.options.file)]
        if self.options.only:
            with open(self.options.only, encoding="utf-8") as lines:
                names = set(lines.read().split("\n"))
            listing = [mutant for mutant in listing if mutant["name"] in names]
        if self.options.sample:
            listing = random.Random(self.options.seed).sample(listing, min(self.options.sample, len(listing)))
        return listing

    def checks(self, file, functions):
        text = self.original(file)
        lines = Lines(text)
        found = [(m.start(1), m.end(1), "false") for m in GUARD.finditer(text)]
        for match in RULE.finditer(text):
            if not text[: match.start()].endswith("fn "):
                found.append((match.start(), closing(text, match.end() - 1), "Ok::<(), crate::FormatError>(())"))
        for start, end, replacement in found:
            around = [f for f in functions if lines.place(f["span"]["start"]) <= start < lines.place(f["span"]["end"])]
            if not around:
                continue
            function = max(around, key=lambda f: lines.place(f["span"]["start"]))
            line, column = lines.position(start)
            check = " ".join(text[start:end].split())
            yield {
                "name": f"{file}:{line}:{column}: leave out the check `{check}` in {function['function_name']}",
                "file": file,
                "function": function,
                "genre": "Check",
                "replacement": replacement,
                "span": {
                    "start": {"line": line, "column": column},
                    "end": dict(zip(("line", "column"), lines.position(end))),
                },
            }

    # Switches.

    def plant(self, listing, dropped):
        """Writes the sources with switches. Returns the mutants planted, with the lines that each one takes, and
        the number that tells of each function that it was reached."""
        by_file = collections.defaultdict(lambda: collections.defaultdict(list))
        for number, mutant in enumerate(listing, 1):
            if number not in dropped and mutant.get("function"):
                by_file[mutant["file"]][json.dumps(mutant["function"]["span"])].append((number, mutant))
        planted, areas = {}, collections.defaultdict(list)
        for file in {mutant["file"] for mutant in listing} | {self.root}:
            text = self.original(file)
            edits = self.edits(text, by_file[file])
            out, last = "", 0
            for start, end, arms, own in edits:
                out += text[last:start]
                first = arms[0][0]
                out += f"{{ match crate::mutant_on({first}) {{\n"
                for number, arm in arms:
                    line = out.count("\n") + 1
                    out += f"{number} =>\n{arm}\n,"
                    planted[number] = first
                    areas[file].append((line, out.count("\n") + 1, [number]))
                line = out.count("\n") + 1
                out += f"_ =>\n{own}\n}} }}"
                areas[file].append((line, out.count("\n") + 1, [number for number, _ in arms]))
                last = end
            out += text[last:]
            if file == self.root:
                out = ALLOW + out + SWITCH
                areas[file] = [(a + 1, b + 1, numbers) for a, b, numbers in areas[file]]
            path = os.path.join(self.tree, file)
            if open(path, encoding="utf-8").read() != out:
                self.write(file, out)
        return planted, areas

    def edits(self, text, functions):
        """The bodies to replace: where each lies, its mutants by number, and the body itself."""
        lines = Lines(text)
        spans = {key: tuple(lines.place(json.loads(key)[end]) for end in ("start", "end")) for key in functions}
        edits = []
        for key, (start, end) in spans.items():
            inner = any(other != (start, end) and start <= other[0] and other[1] <= end for other in spans.values())
            braces = body_of(text, start, end)
            if inner or not braces:
                continue
            opened, closed = braces
            head = text[start:opened]
            if re.search(r"\bconst\s+(unsafe\s+)?fn\b", head):
                continue
            wrap = lambda body: body
            if "impl " in head.split("->", 1)[-1] and "->" in head:
                boxed = BOXED.search(head.split(" where")[0].rstrip())
                if not boxed:
                    continue
                wrap = lambda body, kind=boxed.group(1): f"{{ Box::new({body}) as Box<dyn {kind} + '_> }}"
            arms = []
            for number, mutant in functions[key]:
                replacement = mutant["replacement"]
                if mutant["genre"] == "FnValue":
                    arm = "{ " + replacement + " }"
                else:
                    a, b = lines.place(mutant["span"]["start"]), lines.place(mutant["span"]["end"])
                    if not (opened <= a and b <= closed):
                        continue
                    arm = f"{text[opened:a]} {replacement} {text[b:closed]}"
                arms.append((number, wrap(arm)))
            if arms:
                edits.append((opened, closed, arms, wrap(text[opened:closed])))
        return sorted(edits, key=lambda edit: edit[0])

    def settle(self, listing):
        """Drops mutants that do not compile, until the rest does."""
        failed = {name for name, verdict in self.verdicts().items() if verdict == "does not compile"}
        dropped = {number for number, mutant in enumerate(listing, 1) if mutant["name"] in failed}
        for _ in range(40):
            planted, areas = self.plant(listing, dropped)
            messages, code = self.cargo("check", "--lib")
            bad, others = set(), []
            for message in messages:
                spans = list(message["spans"])
                for child in message["children"]:
                    spans += child["spans"]
                spans.sort(key=lambda span: not span["is_primary"])
                hit = set()
                for span in spans:
                    around = [n for a, b, n in areas.get(span["file_name"], []) if a <= span["line_start"] <= b]
                    if around:
                        hit = set(min(around, key=len))
                        break
                if hit:
                    bad |= hit
                elif spans:
                    others.append(message["rendered"])
            print(f"{len(planted)} mutants have a switch, {len(bad)} of them do not compile", flush=True)
            if code == 0:
                return planted, dropped
            if not bad:
                sys.exit("the copy does not compile:\n" + "\n".join(others[:3]))
            dropped |= bad
        sys.exit("the mutants do not settle")

    def cargo(self, verb, *more):
        packages = [self.options.package, *(self.options.also if verb == "test" else [])]
        command = ["cargo", verb, "--all-features", "--message-format", "json", *more]
        command += [word for package in packages for word in ("-p", package)]
        run = subprocess.run(
            command, cwd=self.tree, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        lines = [json.loads(line) for line in run.stdout.split("\n") if line.startswith("{")]
        self.built = {
            line["target"]["name"] if line["target"]["kind"] == ["test"] else "lib": line["executable"]
            for line in lines
            if line.get("reason") == "compiler-artifact" and line.get("executable") and line["profile"]["test"]
            and (line["target"]["kind"] == ["test"] or f"#{self.options.package}@" in line["package_id"])
        }
        errors = [line["message"] for line in lines if line.get("reason") == "compiler-message"]
        return [message for message in errors if message["level"].startswith("error")], run.returncode

    # Tests.

    def build(self):
        more = []
        for program in self.options.programs.split(","):
            more += ["--lib"] if program == "lib" else ["--test", program]
        messages, code = self.cargo("test", "--no-run", *more)
        return code == 0, messages

    def run(self, program, tests, environment, limit):
        folder = os.path.join(self.tree, "format") if self.options.package == "deltafold-format" else self.tree
        process = subprocess.Popen(
            [self.built[program], "--exact", "-q", "--test-threads", str(self.options.threads), *tests],
            cwd=folder,
            env={**self.environment, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return "timeout"

    def measure(self):
        """Runs each test once: its time, and the functions that it reaches."""
        tests = []
        for program, path in self.built.items():
            listed = subprocess.check_output([path, "--list", "--format", "terse"], cwd=self.tree, text=True)
            for line in listed.split("\n"):
                name = line.removesuffix(": test")
                if name == line or any(skipped in name for skipped in (*SKIPPED, *self.options.skip)):
                    continue
                reached = os.path.join(self.folder, "reached")
                open(reached, "w", encoding="utf-8").close()
                began = time.monotonic()
                code = self.run(program, [name], {"REACHED": reached}, 100)
                took = time.monotonic() - began
                if code != 0:
                    print(f"left out, as it fails without a mutant: {program} {name} ({code})", flush=True)
                    continue
                functions = {int(line) for line in open(reached, encoding="utf-8")}
                tests.append((took, program, name, functions))
        tests.sort(key=lambda test: test[0])
        print(f"{len(tests)} tests take {sum(test[0] for test in tests):.0f} s one by one", flush=True)
        return tests

    def meets(self, tests, environment):
        """The verdict of these tests: the fast ones together, then the others one by one."""
        fast, slow, spent = collections.defaultdict(list), [], 0.0
        for took, program, name, _ in tests:
            if took < 0.5 and spent < 2.0:
                fast[program].append(name)
                spent += took
            else:
                slow.append((took, program, [name]))
        for took, program, names in [(spent, program, names) for program, names in fast.items()] + slow:
            if spent > BUDGET:
                return "cut short", ""
            code = self.run(program, names, environment, 5 * took + 10)
            if code != 0:
                return "noticed", f"{code} {names[0] if len(names) == 1 else ''}".strip()
            spent += took if len(names) == 1 else 0
        return "MISSED", ""

    def verdicts(self):
        """The verdicts that are known, by the names of the mutants."""
        if not os.path.exists(self.results):
            return {}
        with open(self.results, encoding="utf-8") as lines:
            return {name: verdict for verdict, name, _ in (line.split("\t") for line in lines)}

    def note(self, verdict, mutant, detail):
        with open(self.results, "a", encoding="utf-8") as out:
            out.write(f"{verdict}\t{mutant['name']}\t{detail}\n")
        if verdict not in ("noticed", "does not compile"):
            print(verdict, mutant["name"], flush=True)

    def switched(self, listing):
        planted, dropped = self.settle(listing)
        done = self.verdicts()
        for number in sorted(dropped):
            if listing[number - 1]["name"] not in done:
                self.note("does not compile", listing[number - 1], "")
        built, messages = self.build()
        if not built:
            sys.exit("the tests do not build:\n" + "\n".join(message["rendered"] for message in messages[:3]))
        tests = self.measure()
        for number, first in sorted(planted.items()):
            mutant = listing[number - 1]
            if mutant["name"] in done:
                continue
            reaching = [test for test in tests if first in test[3]]
            verdict, detail = self.meets(reaching, {"MUTANT": str(number)}) if reaching else ("NOT REACHED", "")
            self.note(verdict, mutant, detail)
        return {listing[number - 1]["name"] for number in planted} | {listing[n - 1]["name"] for n in dropped}

    def alone(self, listing):
        """Builds and tests each of these by itself."""
        self.copy()
        self.write(self.root, ALLOW + self.original(self.root))
        if not self.build()[0]:
            sys.exit("the copy does not build")
        tests, done = self.measure(), self.verdicts()
        for mutant in listing:
            if mutant["name"] in done:
                continue
            text = self.original(mutant["file"])
            if mutant["file"] == self.root:
                text = ALLOW + text
            before = len(ALLOW) if mutant["file"] == self.root else 0
            lines = Lines(text[before:])
            a, b = lines.place(mutant["span"]["start"]), lines.place(mutant["span"]["end"])
            replacement = mutant["replacement"]
            if mutant["genre"] == "FnValue":
                span = mutant["function"]["span"]
                a, b = body_of(text[before:], lines.place(span["start"]), lines.place(span["end"]))
                replacement = "{ " + replacement + " }"
            self.write(mutant["file"], f"{text[:before + a]} {replacement} {text[before + b:]}")
            built, _ = self.build()
            verdict, detail = self.meets(tests, {}) if built else ("does not compile", "")
            self.note(verdict, mutant, detail)
            self.write(mutant["file"], text)


class Lines:
    """Places in a text by line and column, both counted from 1."""

    def __init__(self, text):
        self.starts = [0]
        for line in text.split("\n"):
            self.starts.append(self.starts[-1] + len(line) + 1)

    def place(self, position):
        return self.starts[position["line"] - 1] + position["column"] - 1

    def position(self, place):
        line = next(number for number, start in enumerate(self.starts) if start > place)
        return line, place - self.starts[line - 1] + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("package")
    parser.add_argument("--file", action="append", help="only files like this, such as 'src/reader/*'")
    parser.add_argument("--only", help="only the mutants that this file names, one a line")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn by the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--programs", default="lib,golden", help="the test programs, lib for the crate's own tests")
    parser.add_argument("--also", action="append", default=[], help="packages whose test programs meet the mutants, too")
    parser.add_argument("--skip", action="append", default=[], help="leave out tests whose name holds this")
    parser.add_argument("--threads", type=int, default=1, help="tests that run at once")
    parser.add_argument("--alone", action="store_true", help="then the mutants that cannot have a switch")
    parser.add_argument("--constants", action="store_true", help="only the mutants that cannot have a switch")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run has done")
    parser.add_argument("--cargo-mutants", default="cargo-mutants", help="the program that lists mutants")
    options = parser.parse_args()
    mutants = Mutants(options)
    if options.fresh:
        shutil.rmtree(mutants.folder, ignore_errors=True)
    mutants.copy()
    listing = mutants.list()
    print(f"{len(listing)} mutants, seed {options.seed}", flush=True)
    if options.constants:
        planted, _ = mutants.plant(listing, set())
        listing = [mutant for number, mutant in enumerate(listing, 1) if number not in planted]
        print(f"{len(listing)} of them cannot have a switch", flush=True)
        mutants.alone(listing)
    else:
        with_switch = mutants.switched(listing)
        if options.alone:
            mutants.alone([mutant for mutant in listing if mutant["name"] not in with_switch])
    known = mutants.verdicts()
    verdicts = collections.Counter(known.get(mutant["name"], "not run") for mutant in listing)
    print(", ".join(f"{verdict}: {count}" for verdict, count in verdicts.items()))
    sys.exit(1 if verdicts["MISSED"] or verdicts["NOT REACHED"] else 0)


if __name__ == "__main__":
    main()
