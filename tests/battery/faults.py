"""Faults on demand: one system call of a running server fails, the Nth of its kind from now on."""

import errno
import mmap
import pathlib
import struct

# Kept alike in faults.c.
KINDS = ["pwrite", "fsync", "fdatasync", "open", "ftruncate"]
CONTROL = struct.Struct("=qqqq")

# In place of an errno: the process is killed instead of the call.
KILL = -1

LIBRARY = pathlib.Path(__file__).parents[2] / "target/battery/faults.so"


class Faults:
    """What a server runs under to be failed."""

    def __init__(self, folder):
        self.file = folder / "faults"
        self.file.write_bytes(CONTROL.pack(-1, 0, 0, 0))
        with self.file.open("r+b") as file:
            self.control = mmap.mmap(file.fileno(), CONTROL.size)

    def wrapper(self):
        """fiu-run sets its own LD_PRELOAD, so ours joins it afterwards."""
        join = f'export FAULTS={self.file}; export LD_PRELOAD="$LD_PRELOAD {LIBRARY}"; exec "$0" "$@"'
        return ["fiu-run", "-x", "sh", "-c", join]

    def arm(self, kind, nth, error=errno.EIO):
        """Fails the nth call of a kind from now on, once."""
        self.control[:] = CONTROL.pack(-1, nth, error, 0)
        self.control[:] = CONTROL.pack(KINDS.index(kind), nth, error, 0)

    def left(self):
        """How many more calls of the kind succeed, and one."""
        return CONTROL.unpack(self.control[:])[1]

    def disarm(self):
        """Fails nothing more, and says whether it did."""
        failed = CONTROL.unpack(self.control[:])[3]
        self.control[:] = CONTROL.pack(-1, 0, 0, 0)
        return bool(failed)
