"""The real binary as a process: started in front of any wrapper, stopped, killed, started again, looked over."""

import contextlib
import os
import pathlib
import signal
import sqlite3
import subprocess
import threading

DATABASES = ["auth.db", "task.db", "chat.db"]

# How long a start may take on a machine that is busy with other things.
START = 30


class Server:
    """A process of errand on a data folder. `wrapper` is a command that runs another, and must become it."""

    def __init__(self, folder, wrapper=(), environment=None, arguments=()):
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data"
        self.wrapper = list(wrapper)
        # What is meant for the tests is no setting of the server.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ERRAND_")}
        self.environment |= environment or {}
        self.arguments = list(arguments)
        self.log_file = self.folder / "log"
        self.process = None
        self.port = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        """Starts it and waits until it says where it listens."""
        ended = self.try_to_start()
        assert ended is None, f"errand ended with {ended}:\n{self.log()}"
        return self

    def try_to_start(self):
        """Starts it; answers its exit code when it ended before it listened."""
        command = [*self.wrapper, os.environ["ERRAND_BIN"], "serve", "--listen", "127.0.0.1:0"]
        # Tests speak for many clients; each names its own address. And one of them does what a thousand users do.
        command += ["--data-dir", str(self.data), "--trusted-proxies", "127.0.0.1"]
        command += ["--user-rates", "off", "--address-rates", "off", *self.arguments]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        late = threading.Timer(START, self.process.kill)
        late.start()
        try:
            for line in self.process.stdout:
                if line.startswith((b"listening on http://", b"listening on https://")):
                    self.port = int(line.rsplit(b":", 1)[1])
                    return None
            return self.process.wait()
        finally:
            late.cancel()

    def kill(self):
        """Ends it without warning."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def restart(self):
        """The same data under a new process, after the old one was killed without warning."""
        self.kill()
        return self.start()

    def stop(self):
        """Asks it to end, as an operator does."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=20)
        self.process.stdout.close()
        assert code == 0, self.log()

    def is_running(self):
        return self.process.poll() is None

    def log(self):
        """Everything that it logged, over all its lives."""
        return self.log_file.read_text(errors="replace")

    def resident(self, field="VmRSS"):
        """Its memory in bytes."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split(f"{field}:")[1].split()[0]) * 1024

    def most_resident(self):
        """The most memory that it had at any time since it started, in bytes."""
        return self.resident("VmHWM")

    def files(self):
        """What it has open, as the system names it."""
        found = []
        for one in pathlib.Path(f"/proc/{self.pid}/fd").iterdir():
            # One that was closed meanwhile is no file any more.
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(one))
        return found

    def look_over(self):
        """What holds of every process at its end: nothing panicked, and the files are whole."""
        log = self.log()
        assert "panicked" not in log and "alarm" not in log, log
        for name in DATABASES:
            path = self.data / name
            if path.exists():
                check_integrity(path)


def check_integrity(path):
    """Asks SQLite whether a file is whole."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path
    finally:
        connection.close()
