"""Those who call while something happens, and somebody honest beside an attack."""

import contextlib
import itertools
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

from client import TASK, messages
from conftest import FULL

# Of so many calls a p99 says something.
ENOUGH = 1_000


class Callers:
    """Those who call again and again while something happens: `callers.py`, and what it says of each call. They take the
    calls in turn, each a message and its metadata."""

    def __init__(self, client, method, calls, callers=1, pause=0.005, timeout=10):
        request, _ = messages(method, client.channel)
        wanted = {
            "address": client.address,
            "options": client.options,
            "method": f"/{method}",
            "calls": [(request(**fields).SerializeToString().hex(), metadata) for fields, metadata in calls],
            "callers": callers,
            "pause": pause,
            "timeout": timeout,
        }
        program = [sys.executable, "-B", str(pathlib.Path(__file__).with_name("callers.py"))]
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()
        self.calls = []
        self.began = math.inf
        self.reading = threading.Thread(target=self._read, daemon=True)
        self.reading.start()

    def _read(self):
        for line in self.process.stdout:
            self.calls.append(json.loads(line))

    def before(self):
        """How long the calls took before what happens began."""
        return [took for begun, took, _ in self.calls if begun < self.began]

    def beside(self):
        """How long they took since."""
        return [took for begun, took, _ in self.calls if begun >= self.began]

    def wait_for(self, count, calls):
        late = time.monotonic() + 60
        while len(calls()) < count:
            assert time.monotonic() < late and self.process.poll() is None, f"{len(calls())} calls"
            time.sleep(0.01)

    def rounds(self, fewest):
        """The rounds of an attack; in the full size as many more as it takes to say what the honest one's p99 is beside it."""
        late = time.monotonic() + 120
        for number in itertools.count():
            if number >= fewest and not (FULL and len(self.beside()) < ENOUGH and time.monotonic() < late):
                return
            yield number

    def stop(self):
        """Lets each end its last call."""
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.reading.join()


@contextlib.contextmanager
def honest_beside(client):
    """An honest client that sees no error. In the full size its p99 is at most doubled, against a calm time before."""
    task = client.create("beside an attack")
    honest = Callers(client, f"{TASK}/GetTask", [({"task_id": task.id}, client.metadata())])
    try:
        honest.wait_for(ENOUGH if FULL else 20, honest.before)
        honest.began = time.monotonic()
        with elsewhere():
            yield honest
        honest.wait_for(10, honest.beside)
    finally:
        honest.stop()
    failed = [error for _, _, error in honest.calls if error]
    assert not failed, failed[:5]
    assert client.health() == "SERVING"
    if FULL:
        calm, beside = honest.before(), honest.beside()
        before, during = p99(calm), p99(beside)
        print(f"p99 of {len(calm)} calls {before * 1000:.1f} ms, beside it of {len(beside)} {during * 1000:.1f} ms")
        # Below this it is the scheduler of the machine.
        assert during <= max(2 * before, 0.01), (before, during)


@contextlib.contextmanager
def elsewhere():
    """Whoever attacks is on another machine: where p99s are compared, this thread and those that it starts take from the
    processors of this one only what is left. Who is not allowed to go back to the front stays behind."""
    if not FULL:
        yield
        return
    # Linux has a policy for each thread. One that is idle is left for whoever wakes up.
    before = os.sched_getscheduler(0)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, before, os.sched_param(0))


def p99(took):
    return statistics.quantiles(took, n=100)[98]
