"""R-084 to R-090: frames without end. Whoever sends them is told to calm down; who works beside them notices nothing."""

import contextlib
import time

import pytest
from beside import honest_beside
from client import AUTH, PASSWORD, TASK, Refused, messages
from conftest import rounds
from hyperframe import frame as frames
from raw import ENHANCE_YOUR_CALM, PROTOCOL_ERROR, REFUSED_STREAM, Raw, flood

GET = f"/{TASK}/GetTask"
JWKS = f"/{AUTH}/GetJwks"


def attack(server, ann, make_frame, count, codes=(ENHANCE_YOUR_CALM,)):
    """Floods a connection, which ends with one of the codes; answers its GOAWAY and what the server sent before it."""
    with honest_beside(ann) as honest:
        for _ in honest.rounds(rounds(1, 20)):
            raw = Raw(server.address)
            thread = flood(raw, make_frame(raw), count)
            goaway, seen = raw.end()
            thread.join()
            raw.close()
            assert goaway is not None, "it was closed without a word"
            assert goaway.error_code in codes, goaway
    return goaway, seen


def test_r_087_a_flood_of_pings_ends_the_connection_within_a_thousand(server, ann):
    _, seen = attack(server, ann, lambda _: frames.PingFrame(0, opaque_data=b"12345678"), rounds(5_000, 50_000))
    answered = sum(isinstance(one, frames.PingFrame) for one in seen)
    assert answered <= 1_000, answered


def test_r_088_a_flood_of_settings_ends_the_connection_within_a_thousand(server, ann):
    one = frames.SettingsFrame(0, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: 70_000})
    _, seen = attack(server, ann, lambda _: one, rounds(5_000, 20_000))
    answered = sum(isinstance(one, frames.SettingsFrame) for one in seen)
    assert answered <= 1_000, answered


@pytest.mark.parametrize(
    "frame",
    [
        frames.PingFrame(0, opaque_data=b"12345678", flags=["ACK"]),
        frames.SettingsFrame(0, flags=["ACK"]),
        frames.WindowUpdateFrame(0, window_increment=1),
        frames.PriorityFrame(7, depends_on=1, stream_weight=1),
        b"\0\0\0\xfe\0\0\0\0\0",
    ],
    ids=["answers to no ping", "answers to no settings", "window updates", "priorities", "unknown frames"],
)
def test_r_088_no_frame_that_says_nothing_may_be_sent_without_end(server, ann, frame):
    # An answer to no settings is an error by itself, if it is looked at before there are too many.
    is_wrong = isinstance(frame, frames.SettingsFrame)
    attack(server, ann, lambda _: frame, 5_000, (ENHANCE_YOUR_CALM, PROTOCOL_ERROR) if is_wrong else (ENHANCE_YOUR_CALM,))


def test_r_085_a_flood_of_continuations_ends_the_connection(server, ann):
    def begin(raw):
        raw.send(raw.headers(GET, end_headers=False))
        return frames.ContinuationFrame(1)

    attack(server, ann, begin, 5_000)


def test_r_086_a_flood_of_empty_data_ends_the_connection(server, ann):
    def begin(raw):
        raw.send(raw.headers(GET))
        return raw.data(1, b"", end_stream=False)

    attack(server, ann, begin, rounds(10_000, 50_000))


@pytest.mark.parametrize("pause", [0, 0.001], ids=["at once", "after they were looked at"])
def test_r_084_calls_that_are_begun_and_taken_back_end_the_connection_within_two_hundred(server, ann, pause):
    with honest_beside(ann) as honest:
        for _ in honest.rounds(rounds(1, 5)):
            raw = Raw(server.address)
            try:
                for _ in range(rounds(100, 2_000)):
                    heads = [raw.headers(GET) for _ in range(10)]
                    raw.send(*heads)
                    time.sleep(pause)
                    raw.send(*(frames.RstStreamFrame(head.stream_id, error_code=8) for head in heads))
            except OSError:
                pass
            goaway, _ = raw.end()
            raw.close()
            assert goaway is not None and goaway.error_code == ENHANCE_YOUR_CALM
            # The last that it saw.
            assert goaway.last_stream_id // 2 <= 200, goaway.last_stream_id


def test_r_089_of_150_calls_at_once_100_are_served_and_50_refused(server, ann):
    request, _ = messages(f"{TASK}/WatchTasks", ann.channel)
    raw = Raw(server.address)
    calls = [raw.call(f"/{TASK}/WatchTasks", request().SerializeToString(), ann.metadata()) for _ in range(150)]
    raw.send(*(frame for call in calls for frame in call))
    refused = raw.answers(50)
    assert set(refused.values()) == {REFUSED_STREAM}
    # The others are open, and each sees the next change, once it watches.
    served = set()
    while len(served) < 100:
        ann.create("seen by a hundred")
        with contextlib.suppress(TimeoutError):
            for one in raw.frames(0.5):
                if isinstance(one, frames.DataFrame):
                    served.add(one.stream_id)
                    raw.send(frames.WindowUpdateFrame(0, window_increment=max(1, len(one.data))))
    assert not served & refused.keys()
    raw.close()


def test_r_090_sign_ins_that_are_taken_back_leave_no_more_running_than_may(server, ann):
    """Hashing a password is the slowest that there is. What was asked for and taken back does not pile up."""
    request, _ = messages(f"{AUTH}/LogIn", ann.channel)
    message = request(email=ann.email, password=PASSWORD + "!").SerializeToString()
    before = server.resident()
    with honest_beside(ann) as honest:
        for number in honest.rounds(rounds(10, 100)):
            raw = Raw(server.address)
            place = [("x-forwarded-for", f"10.9.{number >> 8}.{number & 255}")]
            calls = [raw.call(f"/{AUTH}/LogIn", message, place) for _ in range(90)]
            raw.send(*(frame for call in calls for frame in call))
            raw.send(*(frames.RstStreamFrame(head.stream_id, error_code=8) for head, _ in calls))
            raw.close()
    # 19 MiB for each that hashes: hundreds of them would be gigabytes.
    assert server.resident() - before < 256 << 20
    # Who comes right after may be told to wait for those that hash already, which is not for long.
    end = time.monotonic() + 10
    while (wait := told_to_wait(ann.log_in)) is not None:
        assert time.monotonic() + wait < end
        time.sleep(wait)


def told_to_wait(call):
    """How long a call that met an overload is to wait; nothing when it was answered."""
    try:
        call()
    except Refused as refused:
        assert refused.reason == "OVERLOADED" and refused.wait, refused
        return refused.wait
    return None
