#!/usr/bin/env python3
"""Soaks the program: kills, full disks, drops and damage for as long as asked, with a checker beside them.

    python3 tests/soak.py target/release/deltafold --minutes 60 --seed 7

Writers append files of ops to one collection and are killed with SIGKILL. Compactors, sweepers and pinners work on
it and are killed, too. The disk fills up and is freed. A second collection is dropped and made again in a loop. A
checker scans all the while: each record must be one that its writer's acknowledged and sent lines allow. Every
minute the actors pause, and objects of a copy are removed, cut, zeroed or flipped. On the copy every command must
give the right answer or report damage; it must never give another answer, panic or die by a signal.

The store lies on a tmpfs of its own where the caller may mount one (as root), so that it can really fill up;
elsewhere no disk fills. Exit code 0 if nothing was found, 1 otherwise. The seed repeats the choices, not the timing.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

NAME = "soak"
OTHER = "again"
IDS = 200
LINES = 400
WRITERS = 3
# Panics, and the abort of an allocator; signals come as negative codes.
FORBIDDEN = {70, 101, 134}


class Finding(Exception):
    pass


class Soak:
    def __init__(self, program, store, seed, minutes, mounted):
        self.program, self.store, self.seed, self.mounted = program, store, seed, mounted
        self.until = time.monotonic() + 60 * minutes
        self.counts = collections.Counter()
        self.findings = []
        self.state = threading.Lock()
        # Actors hold the gate shared for one command; the damager takes it alone.
        self.gate = threading.Condition()
        self.running = 0
        self.paused = False
        self.writers = [Writer(self, number) for number in range(WRITERS)]

    def over(self):
        return time.monotonic() > self.until or len(self.findings) >= 20

    def find(self, text):
        with self.state:
            self.findings.append(text)
        print(f"FOUND: {text}", file=sys.stderr, flush=True)

    def enter(self):
        with self.gate:
            while self.paused:
                self.gate.wait()
            self.running += 1

    def leave(self):
        with self.gate:
            self.running -= 1
            self.gate.notify_all()

    def alone(self):
        with self.gate:
            self.paused = True
            while self.running:
                self.gate.wait()

    def resume(self):
        with self.gate:
            self.paused = False
            self.gate.notify_all()

    def command(self, *arguments, store=None):
        return [self.program, "--store", store or self.store, *map(str, arguments)]

    def run(self, *arguments, kill_after=None, store=None, each=None):
        """Runs a command, perhaps kills it, and returns its exit code (None if killed) and output."""
        child = subprocess.Popen(
            self.command(*arguments, store=store), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, errors="surrogateescape",
        )
        killer = None
        killed = threading.Event()
        if kill_after is not None:
            def kill():
                killed.set()
                child.kill()
            killer = threading.Timer(kill_after, kill)
            killer.start()
        errors = []
        drain = threading.Thread(target=lambda: errors.append(child.stderr.read()))
        drain.start()
        lines = []
        for line in child.stdout:
            lines.append(line)
            if each:
                each(line)
        code = child.wait()
        drain.join()
        if killer:
            killer.cancel()
        with self.state:
            name = next(argument for argument in arguments if not str(argument).startswith("-"))
            self.counts[f"{name} commands"] += 1
        if code == -signal.SIGKILL and killed.is_set():
            with self.state:
                self.counts["kills"] += 1
            return None, "".join(lines), errors[0]
        if code < 0 or code in FORBIDDEN:
            self.find(f"`{' '.join(map(str, arguments))}` ended with {code}: {errors[0][-600:]}")
        return code, "".join(lines), errors[0]

    # The actors.

    def loop(self, name, act):
        choices = random.Random(f"{self.seed}/{name}")
        while not self.over():
            self.enter()
            try:
                act(choices)
            except Exception as error:  # the soak goes on and tells of it
                self.find(f"{name}: {type(error).__name__}: {error}")
            finally:
                self.leave()

    def compact(self, choices):
        how = choices.choice([[], ["--fold-segments", 2], ["--merge-all"], ["--fold-bytes", "4KiB"]])
        kill = choices.choice([None, choices.uniform(0.01, 0.4)])
        self.expect(self.run("compact", NAME, *how, kill_after=kill), "compact")
        time.sleep(choices.uniform(0, 0.3))

    def sweep(self, choices):
        kill = choices.choice([None, choices.uniform(0.01, 0.2)])
        keep = choices.choice([1, 3])
        self.expect(self.run("sweep", NAME, "--keep-versions", keep, "--min-age", "1s", kill_after=kill), "sweep")
        pin = f"p{choices.randrange(3)}"
        ttl = choices.choice([[], ["--ttl", "1s"]])
        self.expect(self.run("pin", NAME, pin, *ttl, kill_after=choices.choice([None, 0.02])), "pin", also={3})
        code, out, _ = self.run("count", "--json", NAME, "--pin", pin) if choices.random() < 0.5 else (None, "", "")
        if code == 6:
            self.find(f"a pinned version is damaged: {out}")
        if choices.random() < 0.7:
            self.expect(self.run("unpin", NAME, pin), "unpin", also={4})
        time.sleep(choices.uniform(0, 0.5))

    def drop(self, choices):
        code, _, errors = self.run("create", OTHER, "--dimension", 2, kill_after=choices.choice([None, 0.01]))
        if code == 0:
            _, out, _ = self.run("count", "--json", OTHER)
            if '"records": 0' not in out and out:
                self.find(f"a collection made anew holds records: {out}")
            lines = [json.dumps({"op": "put", "id": f"{i}", "embedding": [i, 1]}) for i in range(50)]
            path = os.path.join(self.scratch, "again.jsonl")
            with open(path, "w") as file:
                file.write("\n".join(lines))
            code, _, _ = self.run("append", OTHER, path)
            if code == 0:
                self.run("compact", OTHER, kill_after=choices.choice([None, 0.05]))
                code, out, _ = self.run("count", "--json", OTHER)
                if code == 0 and '"records": 50' not in out:
                    self.find(f"50 records were acknowledged, then: {out}")
        self.run("drop", OTHER, "--yes", kill_after=choices.choice([None, choices.uniform(0.005, 0.05)]))

    def check(self, choices):
        least = [writer.acknowledged() for writer in self.writers]
        code, out, errors = self.run("scan", NAME, "--no-embeddings")
        most = [writer.sent for writer in self.writers]
        if code != 0:
            return self.expect((code, out, errors), "scan")
        self.compare(out, least, most)
        if choices.random() < 0.3:
            self.expect(self.run("verify", "--deep", NAME), "verify")
        return None

    def compare(self, out, least, most):
        found = {record["id"]: record["metadata"]["n"] for record in map(json.loads, out.splitlines())}
        for writer, low, high in zip(self.writers, least, most):
            for key in range(IDS):
                allowed = writer.allowed(key, low, high)
                name = writer.id(key)
                if found.get(name) not in allowed:
                    self.find(f"{name} is {found.get(name)}, lines {low} to {high} allow {sorted(allowed, key=str)[:9]}")
        with self.state:
            self.counts["records compared"] += IDS * WRITERS

    def expect(self, result, what, also=()):
        """Commands of a sound collection are done, or come to nothing: interrupted, no space, too late."""
        code, out, errors = result
        if code in (None, 0, 5) or code in also or (code == 1 and "exists already" in errors):
            return
        if code == 1 and "space" in errors.lower():
            with self.state:
                self.counts["refusals of a full disk"] += 1
            return
        self.find(f"{what} of a sound collection ended with {code}: {(out + errors)[-600:]}")

    def fill(self, choices):
        """Fills the disk and frees it."""
        time.sleep(choices.uniform(2, 6))
        path = os.path.join(self.mounted, "ballast")
        try:
            with open(path, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
        except OSError:
            with self.state:
                self.counts["full disks"] += 1
        time.sleep(choices.uniform(0.5, 3))
        os.unlink(path)

    # Damage of a copy.

    def damage(self, choices):
        self.alone()
        try:
            copy = os.path.join(self.scratch, "copy")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.store, copy, ignore=shutil.ignore_patterns("ballast"))
            least = [writer.acknowledged() for writer in self.writers]
            most = [writer.sent for writer in self.writers]
        finally:
            self.resume()
        code, before, errors = self.run("scan", NAME, "--no-embeddings", store=copy)
        if code != 0:
            self.find(f"the copy cannot be scanned: {code} {errors}")
            return
        self.compare(before, least, most)
        for _ in range(6):
            self.damage_one(choices, copy, before)

    def damage_one(self, choices, copy, before):
        trial = os.path.join(self.scratch, "trial")
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(copy, trial)
        folder = os.path.join(trial, NAME)
        files = sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
        last = max((path for path in files if "/log/" in path), default=None)
        victim = choices.choice([path for path in files if path != last])
        how = choices.choice(["remove", "cut", "zero", "flip"])
        apply_damage(choices, victim, how)
        label = f"{how} of {os.path.relpath(victim, trial)}"
        verify, found, _ = self.run("verify", "--deep", NAME, store=trial)
        harmless = verify == 0
        scan, after, errors = self.run("scan", NAME, "--no-embeddings", store=trial)
        if scan == 0 and after != before:
            self.find(f"{label}: another answer with exit code 0 (verify says {verify})")
        if scan not in (0, 6) or verify not in (0, 6):
            self.find(f"{label}: scan ends with {scan}, verify with {verify}: {(found + errors)[-400:]}")
        if harmless and scan != 0:
            self.find(f"{label}: verify says sound, and a scan fails: {errors}")
        op = os.path.join(self.scratch, "one.jsonl")
        with open(op, "w") as file:
            file.write('{"op":"put","id":"zz","embedding":[1,1],"metadata":{"n":1}}\n')
        self.run("append", NAME, op, store=trial)
        compact, _, _ = self.run("compact", NAME, store=trial)
        self.run("sweep", NAME, "--keep-versions", 1, "--min-age", "0s", store=trial)
        scan, after, _ = self.run("scan", NAME, "--no-embeddings", store=trial)
        others = "".join(line for line in after.splitlines(True) if '"id":"zz"' not in line)
        if scan == 0 and others != before:
            self.find(f"{label}: append, compact ({compact}) and sweep lead to another answer")
        with self.state:
            self.counts["objects damaged"] += 1
            self.counts["of them harmless"] += harmless

    def begin(self):
        code, _, errors = self.run("create", NAME, "--dimension", 2)
        if code != 0:
            raise SystemExit(f"cannot create the collection: {errors}")
        self.scratch = tempfile.mkdtemp(prefix="soak-")

    def work(self):
        self.begin()
        actors = [(f"writer {writer.number}", writer.append) for writer in self.writers]
        actors += [("compactor 1", self.compact), ("compactor 2", self.compact), ("sweeper", self.sweep)]
        actors += [("dropper", self.drop), ("checker", self.check)]
        threads = [threading.Thread(target=self.loop, args=actor) for actor in actors]
        threads.append(threading.Thread(target=self.damage_loop))
        if self.mounted:
            threads.append(threading.Thread(target=self.fill_loop))
        for thread in threads:
            thread.start()
        told = time.monotonic()
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(f"{(self.until - told) / 60:.0f} min left: {dict(self.counts)}", file=sys.stderr, flush=True)
        self.end()

    def damage_loop(self):
        choices = random.Random(f"{self.seed}/damager")
        while not self.over():
            for _ in range(30):
                if not self.over():
                    time.sleep(1)
            try:
                self.damage(choices)
            except Exception as error:  # the soak goes on and tells of it
                self.find(f"damager: {type(error).__name__}: {error}")

    def fill_loop(self):
        choices = random.Random(f"{self.seed}/filler")
        while not self.over():
            self.fill(choices)

    def end(self):
        """Every line is sent to its end; then all of it is there, once."""
        for writer in self.writers:
            writer.finish()
        for _ in range(20):
            code, _, errors = self.run("compact", NAME, "--merge-all")
            if code == 0:
                break
        lines = [writer.sent for writer in self.writers]
        _, out, _ = self.run("scan", NAME, "--no-embeddings")
        self.compare(out, lines, lines)
        _, out, _ = self.run("status", "--json", NAME)
        ops = sum(shard["ops"] for shard in json.loads(out)["shards"])
        if ops != sum(lines):
            self.find(f"{sum(lines)} lines were appended and {ops} ops were folded")
        self.expect(self.run("verify", "--deep", NAME), "the last verify")
        with self.state:
            self.counts["lines appended"] = sum(lines)
        shutil.rmtree(self.scratch, ignore_errors=True)


def apply_damage(choices, path, how):
    if how == "remove":
        os.unlink(path)
        return
    with open(path, "rb") as file:
        content = bytearray(file.read())
    at = choices.randrange(len(content))
    if how == "cut":
        content = content[:at]
    elif how == "zero":
        content[at:at + 512] = bytes(len(content[at:at + 512]))
    else:
        content[at] ^= 1 << choices.randrange(8)
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(content)


class Writer:
    """Appends files of lines, each under a source of its own, again and again until each is acknowledged whole."""

    def __init__(self, soak, number):
        self.soak, self.number = soak, number
        self.sent = 0  # lines of all files so far
        self.base = 0  # lines of the files before the current one
        self.heard = 0  # lines acknowledged of the current file
        self.history = collections.defaultdict(list)  # key -> [(line, value)], counted from 1
        self.path = None
        self.choices = random.Random(f"{soak.seed}/lines {number}")

    def id(self, key):
        return f"w{self.number}-{key:03}"

    def acknowledged(self):
        return self.base + self.heard

    def allowed(self, key, low, high):
        """What the record may be when lines up to `low` have taken effect, and those up to `high` may have."""
        states = self.history[key]
        before = [value for line, value in states if line <= low]
        return {before[-1] if before else None} | {value for line, value in states if low < line <= high}

    def begin(self):
        lines = []
        self.base = self.sent
        self.heard = 0
        for line in range(self.base + 1, self.base + LINES + 1):
            key = self.choices.randrange(IDS)
            gone = self.choices.random() < 0.2
            self.history[key].append((line, None if gone else line))
            if gone:
                lines.append({"op": "delete", "id": self.id(key)})
            else:
                lines.append({"op": "put", "id": self.id(key), "embedding": [line, 1], "metadata": {"n": line}})
        self.path = os.path.join(self.soak.scratch, f"w{self.number}.jsonl")
        with open(self.path, "w") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        self.sent = self.base + LINES

    def hear(self, line):
        try:
            said = json.loads(line)
        except ValueError:
            return
        if isinstance(said, dict) and "acknowledged_line" in said:
            self.heard = max(self.heard, said["acknowledged_line"])

    def append(self, choices):
        if self.path is None:
            self.begin()
        kill = choices.choice([None, choices.uniform(0.005, 0.15)])
        source = ["--source", f"w{self.number}-{self.base}"]
        result = self.soak.run("--json", "append", NAME, "--acks", *source, self.path, kill_after=kill, each=self.hear)
        if result[0] == 0:
            self.heard = LINES
            self.path = None
        else:
            self.soak.expect(result, "append")

    def finish(self):
        for _ in range(100):
            if self.path is None:
                return
            self.append(random.Random(1))
        self.soak.find(f"writer {self.number} could not end its file")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    folder = tempfile.mkdtemp(prefix="soak-store-")
    mount = ["mount", "-t", "tmpfs", "-o", "size=192m", "soak", folder]
    mounted = subprocess.run(mount, stderr=subprocess.DEVNULL).returncode == 0
    print(f"seed {options.seed}, store in {folder}{'' if mounted else ' (no tmpfs: no disk fills)'}", flush=True)
    soak = Soak(program, folder, options.seed, options.minutes, folder if mounted else None)
    try:
        soak.work()
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)
    for what, count in sorted(soak.counts.items()):
        print(f"{count:9} {what}")
    print(f"{len(soak.findings)} findings")
    sys.exit(1 if soak.findings else 0)


if __name__ == "__main__":
    main()
