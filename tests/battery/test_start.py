"""R-108 and R-109 at the start: each of its system calls fails or is the last; each step of a schema is cut short."""

import errno
import sqlite3

import pytest
from conftest import rounds
from faults import Faults, KILL
from process import DATABASES, check_integrity

# Enough for every call of a start.
MANY = 1 << 40
# So many of the last may come when it serves already: connections that only read are opened beside what starts.
BESIDE = {"open": 8}


@pytest.fixture
def faults(tmp_path):
    """What the servers of a test run under."""
    return Faults(tmp_path)


def chosen(total):
    """Which of so many calls: all, or a few spread over them."""
    some = rounds(6, total)
    return sorted({1 + number * (total - 1) // max(some - 1, 1) for number in range(min(some, total))})


def calls_of_a_start(server, faults, kind):
    """How many calls of a kind a start on an empty folder makes."""
    faults.arm(kind, MANY)
    server.start()
    made = MANY - faults.left()
    faults.disarm()
    server.kill()
    return made


FAULTS = [
    ("pwrite", errno.EIO),
    ("pwrite", errno.ENOSPC),
    ("fsync", errno.EIO),
    ("open", errno.EMFILE),
    ("ftruncate", errno.EIO),
]


@pytest.mark.parametrize("kind,error", FAULTS, ids=[f"{kind}-{errno.errorcode[error]}" for kind, error in FAULTS])
def test_r_108_a_start_that_fails_says_why_and_the_next_one_serves(make_server, client_of, faults, kind, error):
    total = calls_of_a_start(make_server(wrapper=faults.wrapper()), faults, kind)
    for nth in chosen(total):
        server = make_server(wrapper=faults.wrapper())
        faults.arm(kind, nth, error)
        code = server.try_to_start()
        assert faults.disarm() or nth > total - BESIDE.get(kind, 0), f"{kind} {nth} of {total} was never called"
        if code is not None:
            # A code of sysexits or 1, never that of a panic or a signal, and words that an operator can read.
            assert code in (1, 70, 71, 74, 75, 78), f"{kind} {nth}: {code}\n{server.log()}"
            assert server.log().splitlines()[-1].startswith("errand: "), server.log()
        server.kill()
        server.start()
        ann = client_of(server)
        ann.sign_up()
        ann.create("served")


@pytest.mark.parametrize("kind", ["pwrite", "fsync", "open", "ftruncate"])
def test_r_109_killed_at_any_point_of_the_first_start_the_schema_is_completed_by_the_next(
    make_server, client_of, faults, kind
):
    total = calls_of_a_start(make_server(wrapper=faults.wrapper()), faults, kind)
    for nth in chosen(total):
        server = make_server(wrapper=faults.wrapper())
        faults.arm(kind, nth, KILL)
        ended = server.try_to_start() is not None
        assert ended or nth > total - BESIDE.get(kind, 0), f"{kind} {nth} of {total} did not end it"
        faults.disarm()
        server.kill()
        for name in DATABASES:
            if (server.data / name).exists():
                check_integrity(server.data / name)
        server.start()
        ann = client_of(server)
        ann.sign_up()
        ann.create("served")


@pytest.mark.parametrize("name", DATABASES)
def test_r_109_data_of_a_newer_version_is_refused_with_a_clear_message(make_server, name):
    server = make_server().start()
    server.stop()
    connection = sqlite3.connect(server.data / name)
    with connection:
        connection.execute("INSERT INTO _migrations SELECT 999, 'of tomorrow', checksum, time FROM _migrations LIMIT 1")
    before = connection.execute("SELECT version FROM _migrations").fetchall()
    code = server.try_to_start()
    assert code is not None and code != 101 and code > 0
    assert "schema version 999" in server.log() and "run a newer one" in server.log(), server.log()
    assert connection.execute("SELECT version FROM _migrations").fetchall() == before
    connection.close()
