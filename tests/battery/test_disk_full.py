"""R-107: the disk fills up, and later there is room again."""

import os
import pathlib
import shutil
import subprocess

import grpc
import pytest
from client import TASK, refusal
from process import check_integrity

FULL = (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")

# Much for one task and little for the disk, so that it fills up in a few hundred calls and not with the first.
TEXT = "x" * 1000


class Disk:
    """A file system of 6 MB in a mount namespace of its own, which lives while one process sleeps in it."""

    def __init__(self, folder):
        self.where = folder / "disk"
        self.where.mkdir()
        own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
        mount = 'mount -t tmpfs -o size=6m,mode=0700 disk "$1" && echo mounted && exec sleep infinity'
        self.keeper = subprocess.Popen([*own, "sh", "-c", mount, "sh", self.where], stdout=subprocess.PIPE, text=True)
        assert self.keeper.stdout.readline() == "mounted\n"
        # What is on it, seen from outside.
        self.seen = pathlib.Path(f"/proc/{self.keeper.pid}/root{self.where}")
        self.ballast = self.seen / "ballast"

    def wrapper(self):
        """Runs a command where the disk is."""
        users = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.keeper.pid), *users, "--mount"]

    def room(self):
        """Bytes that are free."""
        state = os.statvfs(self.seen)
        return state.f_bavail * state.f_frsize

    def fill(self, leave):
        """Takes all room but this many bytes."""
        with self.ballast.open("ab") as file:
            file.write(bytes(self.room() - leave))

    def make_room(self):
        self.ballast.unlink()

    def close(self):
        self.keeper.kill()
        self.keeper.wait()
        self.keeper.stdout.close()


@pytest.fixture
def disk(tmp_path):
    """A small disk, thrown away at the end."""
    disk = Disk(tmp_path)
    yield disk
    disk.close()


@pytest.fixture
def server(disk, make_server):
    """A server whose data is on the small disk."""
    server = make_server(wrapper=disk.wrapper())
    server.data = disk.where / "data"
    yield server.start()
    # Looked at from outside, where there is room for SQLite to work.
    server.kill()
    copy = server.folder / "copy"
    shutil.copytree(disk.seen / "data", copy)
    for database in copy.glob("*.db"):
        check_integrity(database)


def write_until_full(ann, acknowledged):
    """Creates tasks until the disk is full, notes every acknowledged one and gives the refusal."""
    for _ in range(4000):
        title = f"task {len(acknowledged)}"
        try:
            acknowledged[ann.create(title, description=TEXT).id] = title
        except Exception as refused:
            return refused
    raise AssertionError("the disk never filled up")


def titles(ann):
    return {task.id: task.title for task in ann.tasks()}


def test_r_107_a_full_disk_refuses_writes_only_and_loses_nothing(server, disk, client_of):
    ann = client_of(server)
    ann.sign_up()
    acknowledged = {}
    first = ann.create("first")
    acknowledged[first.id] = "first"
    disk.fill(leave=1_500_000)
    refused = write_until_full(ann, acknowledged)
    assert (refused.code, refused.reason) == FULL
    # Small writes may still find room; in the end none does.
    disk.fill(leave=0)
    for _ in range(50):
        refused = write_until_full(ann, acknowledged)
        assert (refused.code, refused.reason) == FULL
        update = {"task": {"id": first.id, "description": TEXT}, "update_mask": "description"}
        for call, fields in [("UpdateTask", update), ("DeleteTask", {"task_id": first.id})]:
            refused = refusal(ann.call, f"{TASK}/{call}", **fields)
            assert (refused.code, refused.reason) == FULL, call

    # Reading goes on, and it is all there.
    assert ann.get(first.id).title == "first"
    assert titles(ann) == acknowledged

    # There is room: writing goes on by itself.
    disk.make_room()
    again = ann.create("again", description=TEXT)
    acknowledged[again.id] = "again"
    assert titles(ann) == acknowledged

    # Full once more, killed there, and started where there is room.
    disk.fill(leave=0)
    write_until_full(ann, acknowledged)
    server.kill()
    disk.make_room()
    server.start()
    ann = client_of(server, token=ann.token)
    assert titles(ann) == acknowledged
    ann.create("after the restart")


def test_r_107_health_says_that_a_full_disk_takes_no_writes(server, disk, client_of):
    ann = client_of(server)
    ann.sign_up()
    ann.await_health("SERVING")
    disk.fill(leave=0)
    refused = write_until_full(ann, {})
    assert (refused.code, refused.reason) == FULL
    ann.await_health("NOT_SERVING")
    # The process itself is well: a supervisor that restarted it would not help.
    assert ann.health("liveness") == "SERVING"
    disk.make_room()
    # Nobody sends writes to who says NOT_SERVING, so the server finds out by itself.
    ann.await_health("SERVING")
    ann.create("again")
