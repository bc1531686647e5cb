"""A running server for every suite of this folder, and accounts to use it with."""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import signal
import subprocess
import tempfile

import pytest

# The origin that the server is told to let in, for the browser's suite.
ORIGIN = "http://app.example"

PASSWORD = "correct horse battery staple"

_number = itertools.count(1)


def new_email():
    """An e-mail address that nobody has signed up with."""
    return f"person{next(_number)}@example.com"


def new_place():
    """A network address to call from, as a proxy would report it: sign-ups from one place are limited."""
    return f"203.0.113.{next(_number)}"


@dataclasses.dataclass(frozen=True)
class Server:
    """Where the server under test listens."""

    port: int

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving(*arguments):
    """The real binary on a free port, with an empty data folder; stopped and looked over at the end."""
    binary = os.environ["ERRAND_BIN"]
    # What is meant for the tests is no setting of the server.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ERRAND_")}
    with tempfile.TemporaryDirectory(prefix="errand-clients-") as folder:
        log = pathlib.Path(folder) / "log"
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", f"{folder}/data"]
        # One user of these tests calls as often as it goes.
        command += ["--trusted-proxies", "127.0.0.1", "--user-rates", "off", *arguments]
        with log.open("w") as stderr:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        try:
            yield Server(port_of(process, log))
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        written = log.read_text()
        assert "panicked" not in written, written
        assert PASSWORD not in written, "a password was logged"


@pytest.fixture(scope="session")
def server():
    """The server that the suites share."""
    with serving("--allowed-origins", ORIGIN) as server:
        yield server


def port_of(process, log):
    """Reads what the server says at its start until it names its port."""
    for line in process.stdout:
        if "listening on http://" in line:
            return int(line.split("listening on http://", 1)[1].split()[0].rsplit(":", 1)[1].strip("/"))
    raise AssertionError(f"the server did not say where it listens:\n{log.read_text()}")
