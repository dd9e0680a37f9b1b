"""Clients that send ready-made requests over kept connections, one request at a time each.

A client is a protocol of asyncio without a library of HTTP above it, so that the client costs
little beside the server on the same cores. Each load runs in a process of its own.
"""

import asyncio
import json
import multiprocessing
import time


def request(method, path, body=None):
    """The bytes of a request with a JSON body."""
    text = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
    return head.encode() + text


class Client(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered, until the load is over."""

    def __init__(self, load):
        self.load = load
        self.buffer = bytearray()
        self.needed = None
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.send()

    def send(self):
        wanted = self.load.next()
        if wanted is None:
            self.transport.close()
            return
        self.number, data = wanted
        self.sent = time.perf_counter()
        self.transport.write(data)

    def data_received(self, data):
        self.buffer += data
        if self.needed is None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.buffer[:end]).lower()
            self.status = int(head[9:12])
            length = head.find(b"content-length:")
            if length < 0:
                raise ValueError(f"an answer without length: {head!r}")
            self.body = end + 4
            self.needed = self.body + int(head[length + 15 :].split(b"\r\n", 1)[0])
        if len(self.buffer) < self.needed:
            return
        self.load.answered(self.number, self.status, time.perf_counter() - self.sent, self.buffer[self.body :])
        self.buffer.clear()
        self.needed = None
        self.send()

    def connection_lost(self, error):
        if not self.gone.done():
            self.gone.set_result(error)


class Load:
    """Requests for a time, or each of them once; their times and, where wanted, their bodies."""

    def __init__(self, requests, seconds=None, keep=False):
        self.requests = requests
        self.seconds = seconds
        self.keep = keep
        self.times, self.bodies, self.refused = [], {}, []
        self.given = 0

    def next(self):
        over = self.given >= len(self.requests) if self.seconds is None else time.perf_counter() >= self.end
        if over:
            return None
        number = self.given % len(self.requests)
        self.given += 1
        return number, self.requests[number]

    def answered(self, number, status, seconds, body):
        if status < 300:
            self.times.append(seconds)
        else:
            self.refused.append((status, bytes(body[:200]).decode(errors="replace")))
        if self.keep:
            self.bodies[number] = bytes(body)

    async def run(self, port, clients):
        loop = asyncio.get_running_loop()
        begun = time.perf_counter()
        self.end = begun + (self.seconds or 0)
        made = [await loop.create_connection(lambda: Client(self), "127.0.0.1", port) for _ in range(clients)]
        errors = [await client.gone for _, client in made]
        return {
            "seconds": time.perf_counter() - begun,
            "times": self.times,
            "bodies": self.bodies,
            "refused": len(self.refused),
            "first_refused": self.refused[:1],
            "broken": sum(error is not None for error in errors),
        }


def run(port, requests, clients=1, seconds=None, keep=False):
    """Runs a load in this process."""
    return asyncio.run(Load(requests, seconds, keep).run(port, clients))


def _child(pipe, arguments):
    try:
        pipe.send(run(*arguments))
    except Exception as error:
        pipe.send(error)


def start(port, requests, clients, seconds):
    """Starts a load in a process of its own. The function returned waits for its report."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.Process(target=_child, args=(theirs, (port, requests, clients, seconds)))
    child.start()
    theirs.close()

    def wait():
        try:
            report = ours.recv()
        finally:
            child.join()
        if isinstance(report, Exception):
            raise report
        return report

    return wait
