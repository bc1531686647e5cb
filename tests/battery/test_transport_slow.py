"""R-092, R-094, R-095: who says nothing, or says it slowly, or does not listen, is let go of in time."""

import socket
import threading
import time

import pytest
from beside import honest_beside
from client import TASK, messages
from conftest import rounds
from hyperframe import frame as frames
from raw import PREFACE, SLOW, UNREAD, Raw

LIST = f"/{TASK}/ListTasks"
GET = f"/{TASK}/GetTask"
MOST_MEMORY = 256 << 20


def connect(server):
    host, port = server.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=SLOW + 10)


def closed_after(connection):
    """How long it takes until a connection is closed by the server."""
    begun = time.monotonic()
    try:
        while connection.recv(65_536):
            pass
    except (ConnectionResetError, BrokenPipeError):
        pass
    return time.monotonic() - begun


def drip(connection, data, pause=0.5):
    """Sends a byte now and then, from a thread of its own, as long as somebody is there."""

    def run():
        try:
            for byte in data:
                connection.sendall(bytes([byte]))
                time.sleep(pause)
        except OSError:
            pass

    threading.Thread(target=run, daemon=True).start()


def slow_ones(server, ann):
    """Connections, each slow in a way of its own, by a name."""
    silent, preface, settings, frame, headers, more, line, fields, body, length = (connect(server) for _ in range(10))
    drip(preface, PREFACE)
    # The preface alone is no beginning.
    settings.sendall(PREFACE)
    first = PREFACE + frames.SettingsFrame(0).serialize()
    frame.sendall(first)
    drip(frame, frames.HeadersFrame(1, data=b"\x82" * 200).serialize())
    head = frames.HeadersFrame(1, data=b"\x82").serialize()
    headers.sendall(first + head)
    more.sendall(first + head)
    drip(more, frames.ContinuationFrame(1, data=b"").serialize() * 4, pause=0.3)
    drip(line, b"GET /healthz HTTP/1.1\r\n" * 4)
    fields.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
    drip(fields, b"a: b\r\n" * 100)
    head = b"POST /v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer "
    head += ann.token.encode()
    body.sendall(head + b"\r\ntransfer-encoding: chunked\r\n\r\n")
    drip(body, b"1\r\n{\r\n" + b"1\r\n \r\n" * 100)
    length.sendall(head + b"\r\ncontent-length: 1000\r\n\r\n")
    drip(length, b"{" + b" " * 999)
    return {
        "says nothing": silent,
        "a slow preface": preface,
        "no settings": settings,
        "a slow frame": frame,
        "headers without their end": headers,
        "headers that go on slowly": more,
        "a slow line of http/1": line,
        "slow headers of http/1": fields,
        "a slow body in chunks": body,
        "a slow body by length": length,
    }


def test_r_095_whoever_is_slow_is_closed_in_time_and_hinders_nobody(server, ann):
    with honest_beside(ann):
        slow = slow_ones(server, ann)
        taken = {}

        def watch(name, connection):
            taken[name] = closed_after(connection)

        watching = [threading.Thread(target=watch, args=one, daemon=True) for one in slow.items()]
        for thread in watching:
            thread.start()
        # A slow body of HTTP/2 is one call among others.
        raw = Raw(server.address)
        head = raw.headers(GET, ann.metadata())
        raw.send(head)
        drip_stream(raw, head.stream_id)
        begun = time.monotonic()
        ended = raw.answers(1, SLOW + 5)
        taken["a slow body of http/2"] = time.monotonic() - begun
        for thread in watching:
            thread.join(SLOW + 10)
    assert len(taken) == len(slow) + 1, slow.keys() - taken.keys()
    late = {name: seconds for name, seconds in taken.items() if seconds > SLOW}
    assert not late, late
    assert ended[1]["grpc-status"] == "4", ended
    # The connection goes on.
    raw.send(*raw.call(GET, metadata=ann.metadata()))
    assert raw.answers(1)[3]["grpc-status"] == "3"


def drip_stream(raw, stream):
    """A byte of a body now and then."""

    def run():
        try:
            for byte in b"\0\0\0\0\x7f" + bytes(100):
                raw.send(raw.data(stream, bytes([byte]), end_stream=False))
                time.sleep(0.5)
        except OSError:
            pass

    threading.Thread(target=run, daemon=True).start()


def test_r_094_hundreds_of_silent_connections_are_closed_in_time(server, ann):
    with honest_beside(ann):
        begun = time.monotonic()
        silent = [connect(server) for _ in range(300)]
        for connection in silent:
            assert connection.recv(1) == b""
        assert time.monotonic() - begun <= SLOW + 1
    assert ann.health() == "SERVING"


def test_r_092_whoever_does_not_read_is_cut_and_costs_little(server, ann):
    """A list of hundreds of KiB, asked for again and again by readers that make no room, or a byte at a time, or do
    not read their socket. Each stream is cut; the connection lives, where it reads at all."""
    for number in range(100):
        ann.create(f"task {number}", description="x" * 1000)
    request, _ = messages(f"{TASK}/ListTasks", ann.channel)
    message = request(page_size=200).SerializeToString()
    calls = rounds(20, 90)
    before = server.resident()
    with honest_beside(ann):
        shut, narrow, narrow_connection, deaf = (
            Raw(server.address, window=0),
            Raw(server.address, window=1),
            Raw(server.address, window=1 << 20),
            Raw(server.address, window=1 << 30, receive_buffer=4096),
        )
        deaf.send(frames.WindowUpdateFrame(0, window_increment=1 << 30))
        everybody = (shut, narrow, narrow_connection, deaf)
        for raw in everybody:
            # More than what the system itself keeps for a socket.
            times = 100 if raw is deaf else calls
            raw.send(*(part for _ in range(times) for part in raw.call(LIST, message, ann.metadata())))
        begun = time.monotonic()
        open_narrow = threading.Event()

        def a_byte_at_a_time():
            try:
                while not open_narrow.is_set():
                    for stream in range(1, 2 * calls, 2):
                        narrow.send(frames.WindowUpdateFrame(stream, window_increment=1))
                    time.sleep(1)
            except OSError:
                pass

        threading.Thread(target=a_byte_at_a_time, daemon=True).start()
        assert set(shut.answers(calls, UNREAD + 5).values()) == {11}
        assert time.monotonic() - begun <= UNREAD
        assert set(narrow.answers(calls, UNREAD + 5).values()) == {11}
        open_narrow.set()
        assert time.monotonic() - begun <= UNREAD
        # It lets no stream of its own get on, so it is closed as a whole.
        goaway, _ = narrow_connection.end(UNREAD + 5)
        assert goaway is not None and goaway.error_code == 11
        print(f"{(server.resident() - before) >> 20} MiB more after {4 * calls} lists that nobody reads")
        assert server.resident() < MOST_MEMORY
        # The socket is full, so that there was no way to tell it anything: what it finds is an end.
        time.sleep(max(0.0, UNREAD - (time.monotonic() - begun)))
        with pytest.raises(ConnectionError, match="closed after"):
            deaf.answers(100)
        # Who reads again is served again.
        shut.send(frames.SettingsFrame(0, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: 65_535}))
        shut.send(*shut.call(GET, metadata=ann.metadata()))
        assert list(shut.answers(1).values())[0]["grpc-status"] == "3"
        for raw in everybody:
            raw.close()


def test_r_092_whoever_reads_slowly_gets_everything(server, ann):
    for number in range(40):
        ann.create(f"task {number}", description="x" * 1000)
    request, answer = messages(f"{TASK}/ListTasks", ann.channel)
    raw = Raw(server.address, window=4_000)
    raw.send(*raw.call(LIST, request(page_size=200).SerializeToString(), ann.metadata()))
    received = b""
    for one in raw.frames():
        if isinstance(one, frames.DataFrame):
            received += one.data
            time.sleep(0.05)
            raw.send(*(frames.WindowUpdateFrame(stream, window_increment=len(one.data)) for stream in (0, 1)))
        elif isinstance(one, frames.HeadersFrame) and "END_STREAM" in one.flags:
            break
        assert not isinstance(one, (frames.RstStreamFrame, frames.GoAwayFrame)), one
    assert len(answer.FromString(received[5:]).tasks) == 40
    raw.close()
