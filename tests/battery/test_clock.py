"""R-109: the wall clock is wrong, and jumps while the server runs; the monotonic clock is as it should be."""

import datetime
import glob
import time

import grpc
import pytest
from client import AUTH, TASK, Refused, refusal

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


class Clock:
    """The wall clock of a server: that of the machine, moved."""

    def __init__(self, folder):
        self.file = folder / "clock"
        self.seconds = 0

    def environment(self):
        """What makes a process take its time from here."""
        (library,) = glob.glob(LIBRARY)
        return {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            # It is read again with every look at the clock.
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, **offset):
        """Moves it so far from the clock of the machine, in one step."""
        self.seconds = round(datetime.timedelta(**offset).total_seconds())
        # Replaced as a whole, so that nobody reads half of it.
        draft = self.file.with_suffix(".new")
        draft.write_text(f"{self.seconds:+d}\n")
        draft.replace(self.file)

    def now(self):
        return time.time() + self.seconds


@pytest.fixture
def clock(tmp_path):
    """A clock that a test moves; right at first."""
    clock = Clock(tmp_path)
    clock.set()
    return clock


@pytest.fixture
def server(make_server, clock):
    """A server on that clock, not started yet."""
    return make_server(environment=clock.environment())


def seconds(timestamp):
    return timestamp.seconds + timestamp.nanos / 1e9


JUMPS = [{}, {"hours": 1}, {"hours": -1}, {"days": 30}, {"days": -1}, {"days": 30}, {}, {"days": -1}, {"days": 400}, {}]


def test_r_109_ids_and_order_stay_monotone_over_jumps_of_the_clock(server, clock, client_of):
    server.start()
    ann = client_of(server)
    made, versions = [], []
    for jump in JUMPS:
        clock.set(**jump)
        # A session of the new time: how long an old one lasts is the next test's.
        ann.log_in() if made else ann.sign_up()
        for _ in range(5):
            task = ann.create(f"task {len(made)}")
            assert abs(seconds(task.create_time) - clock.now()) < 10
            changed = ann.call(f"{TASK}/CompleteTask", task_id=task.id)
            # No time before its own beginning.
            assert seconds(changed.update_time) >= seconds(changed.create_time)
            versions += [int(task.etag, 16), int(changed.etag, 16)]
            made.append(changed)
        # A task of another time: its own times do not go back, whatever the clock says.
        opened = ann.call(f"{TASK}/ReopenTask", task_id=made[0].id)
        closed = ann.call(f"{TASK}/CompleteTask", task_id=made[0].id)
        assert seconds(made[0].update_time) <= seconds(opened.update_time) <= seconds(closed.update_time)
        assert seconds(closed.create_time) <= seconds(closed.complete_time) == seconds(closed.update_time)
        versions += [int(opened.etag, 16), int(closed.etag, 16)]
        made[0] = closed
    ids = [task.id for task in made]
    assert ids == sorted(ids) and len(set(ids)) == len(ids)
    assert versions == sorted(versions) and len(set(versions)) == len(versions)
    # Pages go through all of them, each once, in the order of the times that they carry.
    listed = ann.tasks()
    assert sorted(task.id for task in listed) == ids
    times = [seconds(task.create_time) for task in listed]
    assert times == sorted(times)


def test_r_109_tokens_expire_with_the_clock_and_no_lifetime_is_negative(server, clock, client_of):
    server.start()
    ann = client_of(server)

    def fresh(answer):
        assert answer.credentials.expires_in.seconds == 15 * 60
        ann.create("with a fresh token")

    fresh(ann.sign_up())
    clock.set(minutes=14)
    ann.create("still good")
    clock.set(minutes=16)
    refused = refusal(ann.create, "too late")
    assert (refused.code, refused.reason) == (UNAUTHENTICATED, "TOKEN_EXPIRED")
    fresh(ann.refresh())
    # The clock was wrong and is put right: what was given for later is not good yet, or still.
    for jump in [{}, {"days": -1}]:
        clock.set(**jump)
        try:
            ann.create("early")
        except Refused as refused:
            assert (refused.code, refused.reason) == (UNAUTHENTICATED, "TOKEN_INVALID")
        try:
            fresh(ann.refresh())
        except Refused as refused:
            assert (refused.code, refused.reason) == (UNAUTHENTICATED, "REFRESH_TOKEN_INVALID")
        fresh(ann.log_in())
    # A month later both tokens are over, and the account is not.
    clock.set(days=30)
    assert refusal(ann.create, "too late").reason == "TOKEN_EXPIRED"
    assert refusal(ann.refresh).reason == "REFRESH_TOKEN_INVALID"
    fresh(ann.log_in())


@pytest.mark.parametrize("start", [{"days": 30}, {"days": -1}], ids=["a_month_ahead", "a_day_behind"])
def test_r_109_a_start_with_a_wrong_clock_serves_and_so_does_the_next_with_the_right_one(
    server, clock, client_of, start
):
    clock.set(**start)
    server.start()
    ann = client_of(server)
    ann.sign_up()
    first = ann.create("first")
    clock.set()
    server.restart()
    email, ann = ann.email, client_of(server)
    ann.email = email
    ann.log_in()
    second = ann.create("second")
    assert int(second.etag, 16) > int(first.etag, 16)
    assert {task.title for task in ann.tasks()} == {"first", "second"}


def test_r_109_limits_and_timeouts_do_not_hang_on_the_wall_clock(server, clock, client_of):
    server.start()
    ann = client_of(server)
    ann.sign_up()
    sign_up = {"email": ann.email, "password": "another long password"}

    def tries_until_throttled():
        for number in range(1, 20):
            if refusal(ann.call, f"{AUTH}/SignUp", **sign_up).reason == "TOO_MANY_ATTEMPTS":
                return number
        raise AssertionError("never throttled")

    assert tries_until_throttled() > 1
    for jump in [{"hours": -1}, {"days": -1}, {}]:
        clock.set(**jump)
        # A clock that goes back opens the limit no wider, nor does it close it for a day.
        refused = refusal(ann.call, f"{AUTH}/SignUp", **sign_up)
        assert refused.reason == "TOO_MANY_ATTEMPTS"
        seconds_to_wait = int(refused.said.split("wait ")[1].split()[0])
        assert 0 < seconds_to_wait <= 60, refused
        # What has a deadline ends by it, not at once and not a day later.
        begun = time.monotonic()
        client_of(server).sign_up()
        assert time.monotonic() - begun < 10
