"""The servers that are compared: started on a folder and a free port, measured, stopped."""

import http.client
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def status(pid, names):
    """Some sizes of a process, in MiB; none of one that is gone."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    parts = (line.partition(":") for line in lines)
    return {name: int(value.split()[0]) / 1024 for name, _, value in parts if name in names}


class Server:
    """A server on a folder. It serves one collection."""

    # Most records of one call.
    batch = 5_000

    def __init__(self, folder):
        self.folder = folder
        self.process = None
        self.log = open(pathlib.Path(folder).with_suffix(".log"), "ab")

    def command(self):
        raise NotImplementedError

    def start(self):
        """Starts the server, and returns the seconds until it answers its heartbeat."""
        self.port = free_port()
        begun = time.perf_counter()
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log)
        self.peaks = {}
        threading.Thread(target=self.watch, args=(self.process, self.peaks), daemon=True).start()
        while True:
            try:
                self.call("GET", "/api/v2/heartbeat")
                return time.perf_counter() - begun
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError(f"{self.name} ended with {self.process.returncode}; see {self.log.name}")
                if time.perf_counter() - begun > 60:
                    raise RuntimeError(f"{self.name} does not answer; see {self.log.name}")
                time.sleep(0.002)

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def call(self, method, path, body=None):
        """One call on a connection of its own. Raises where it is refused."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"content-type": "application/json"})
            answer = connection.getresponse()
            read = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{self.name}: {method} {path} answered {answer.status}: {read[:300]!r}")
        return json.loads(read)

    def collection(self, metric):
        """The path of the collection, made if it is not there."""
        body = {"name": "measured", "get_or_create": True, "configuration": {"hnsw": {"space": metric}}}
        return f"{COLLECTIONS}/{self.call('POST', COLLECTIONS, body)['id']}"

    def watch(self, process, peaks):
        """Keeps the peaks of private and of mapped memory, as seen every 50 ms."""
        while process.poll() is None:
            for name, value in status(process.pid, ("RssAnon", "RssFile")).items():
                peaks[name] = max(peaks.get(name, 0), value)
            time.sleep(0.05)

    def memory(self):
        """Memory in MiB: the peak of the resident set, the memory now, and the peaks of both kinds."""
        peaks = {f"{name}Peak": value for name, value in self.peaks.items()}
        return status(self.process.pid, ("VmHWM", "VmRSS", "RssAnon")) | peaks

    def disk(self):
        files = pathlib.Path(self.folder).rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file()) / 2**20


class Deltafold(Server):
    name = "deltafold serve"

    def __init__(self, folder, program):
        super().__init__(folder)
        self.program = program

    def command(self):
        return [self.program, "--store", self.folder, "serve", "--address", f"127.0.0.1:{self.port}"]


class Chroma(Server):
    name = "chroma run"

    def command(self):
        program = pathlib.Path(sys.executable).with_name("chroma")
        return [program, "run", "--path", self.folder, "--host", "127.0.0.1", "--port", str(self.port)]


def run(names, folder, program, reports, measure):
    """Measures one server after the other, each on a folder of its own below `folder`.

    `measure(server, report)` fills the report. A server that fails is a column of the table, not
    the end of the run. Its folder stays.
    """
    for name in names.split(","):
        inner = folder / name
        inner.mkdir()
        server = Chroma(inner) if name == "chroma" else Deltafold(inner, program)
        report = reports[server.name] = {}
        try:
            measure(server, report)
        except Exception as error:
            traceback.print_exc()
            report["failed"] = str(error)
        finally:
            server.stop()
    if not any("failed" in report for report in reports.values()):
        shutil.rmtree(folder, ignore_errors=True)
