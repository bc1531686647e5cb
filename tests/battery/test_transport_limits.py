"""R-091, R-093, R-096 to R-098: too much of everything, bytes that are no protocol, and connections that grow old."""

import contextlib
import re
import socket
import threading
import time

import grpc
import pytest
from beside import honest_beside
from client import AUTH, TASK, Refused, messages, new_id
from conftest import rounds
from hyperframe import frame as frames
from raw import PREFACE, SLOW, Raw

JWKS = f"/{AUTH}/GetJwks"


def connect(server, timeout=SLOW + 5, place=None):
    """A connection, from another address of this machine where one is named."""
    host, port = server.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=timeout, source_address=place and (place, 0))


def said(server, *parts):
    """What the server says to bytes until it closes."""
    with connect(server) as connection:
        received = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for part in parts:
                connection.sendall(part)
            while more := connection.recv(65_536):
                received += more
    return received


def test_r_091_headers_that_are_too_many_or_grow_when_unpacked_are_refused(server, ann):
    before = server.resident()
    with honest_beside(ann) as honest:
        many = Raw(server.address)
        many.send(*many.call(JWKS, metadata=[(f"x-{number}", "a") for number in range(1000)]))
        assert many.answers(1)[1]["grpc-status"] == "8"
        large = Raw(server.address)
        large.send(*large.call(JWKS, metadata=[("x-large", "a" * (16 << 10))]))
        assert large.answers(1)[1]["grpc-status"] == "8"
        # The same connection is good for the next.
        large.send(*large.call(JWKS))
        assert large.answers(1)[3]["grpc-status"] == "0"
        for _ in honest.rounds(rounds(3, 50)):
            bomb = Raw(server.address)
            head = bomb.headers(JWKS, [("x-bomb", "a" * 4000)])
            # The field that was put into the table, ten thousand times in a byte each.
            again = bytes([0x80 | 62]) * 10_000
            head.data += again
            bomb.send(head)
            ended = bomb.end()[0]
            assert ended is not None and ended.error_code == 11, ended
            bomb.close()
        many.close()
        large.close()
    # Unpacked, one bomb has 40 MB. What grows besides is what the honest client's calls take.
    assert server.most_resident() - before < 20_000_000
    fields = b"".join(b"x-%d: a\r\n" % number for number in range(1000))
    status = said(server, b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + fields + b"\r\n").split(b"\r\n")[0]
    assert status.startswith(b"HTTP/1.1 431"), status


def test_r_096_bytes_that_are_no_protocol_are_closed_and_hinder_nobody(server, ann):
    with honest_beside(ann) as honest:
        hello = bytes.fromhex("16030100c8010000c40303") + bytes(189)
        garbage = [hello, bytes(range(256)) * 20, b"\n" * 10_000, b"GET\r\n\r\n", b"SSH-2.0-x\r\n", PREFACE + bytes(range(255, 0, -1)) * 9]
        for _ in honest.rounds(1):
            for bytes_ in garbage:
                answer = said(server, bytes_)
                assert answer == b"" or b" 400 " in answer.split(b"\r\n")[0] or answer[3] in (4, 7), answer[:80]


SMUGGLED = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"content-length: %d\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(SMUGGLED)) + SMUGGLED,
        POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"content-length: 5\r\ncontent-length: 0\r\n\r\n12345" + SMUGGLED,
        POST + b"content-length: +5\r\n\r\n12345" + SMUGGLED,
        POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"x: a\rtransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"x: a\0b\r\n\r\n" + SMUGGLED,
        POST + b" folded: a\r\ncontent-length: 0\r\n\r\n" + SMUGGLED,
        POST + b"transfer-encoding: chunked\r\n\r\n0;" + b"a" * 100_000 + b"\r\n\r\n" + SMUGGLED,
    ],
)
def test_r_096_no_second_request_is_smuggled_into_a_first(server, request_):
    answer = said(server, request_)
    assert len(re.findall(rb"HTTP/1\.1 \d\d\d", answer)) <= 1, answer[:400]
    assert b"openapi" not in answer


def test_r_096_lengths_that_are_not_kept_and_line_breaks_in_fields_end_the_call(server, ann):
    for length, data in ((b"5", b"\0\0\0\0\0more"), (b"9", b"\0\0\0\0\0"), (b"x", b"\0\0\0\0\0")):
        raw = Raw(server.address)
        head = raw.headers(JWKS, [("content-length", length.decode())])
        raw.send(head, raw.data(1, data))
        ended = raw.answers(1)[1]
        assert isinstance(ended, int) or ended["grpc-status"] in ("1", "3"), (length, ended)
        raw.close()
    for name, value in (("x-a", "b\r\nx-c: d"), ("x-a\r\nb", "c"), ("x-a", "b\0c"), ("X-Upper", "a"), ("connection", "x")):
        raw = Raw(server.address)
        raw.send(*raw.call(JWKS, metadata=[(name, value)]))
        try:
            ended = raw.answers(1)[1]
        except ConnectionError:
            continue
        assert isinstance(ended, int), (name, value, ended)
        raw.close()


@pytest.mark.parametrize("length", [b"content-length: %d", b"transfer-encoding: chunked"], ids=["by length", "in chunks"])
def test_r_091_whoever_sends_a_body_that_is_too_large_can_send_all_of_it_and_hears_why(server, ann, length):
    body = b'{"title": "' + b"a" * (7 << 20) + b'"}'
    head = POST + b"authorization: Bearer " + ann.token.encode() + b"\r\n"
    if length.endswith(b"%d"):
        whole = head + length % len(body) + b"\r\n\r\n" + body
    else:
        whole = head + length + b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for _ in range(rounds(5, 100)):
        with connect(server) as connection:
            # This fails when the connection is reset under it.
            connection.sendall(whole)
            answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 413 ") and b"MESSAGE_TOO_LARGE" in answer, answer[:400]


def test_r_093_running_out_of_files_does_not_end_the_listener(make_server, client_of):
    server = make_server(wrapper=["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"]).start()
    ann = client_of(server)
    ann.sign_up()
    task = ann.create("before")
    crowd = []
    for _ in range(500):
        with contextlib.suppress(OSError):
            crowd.append(connect(server))
    # Who is inside works on, and so does what needs files itself.
    assert ann.get(task.id).title == "before"
    ann.create("in between")
    for connection in crowd:
        connection.close()
    begun = time.monotonic()
    while True:
        with contextlib.suppress(AssertionError, OSError):
            answer = said(server, b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            break
        assert time.monotonic() - begun < 1
    assert ann.health() == "SERVING"


def test_r_097_a_storm_of_connections_meets_the_limit_and_no_caller_notices(make_server, client_of):
    server = make_server(arguments=["--max-connections", "100"]).start()
    ann = client_of(server)
    ann.sign_up()
    with honest_beside(ann):
        kept, most = [], 0
        for number in range(rounds(1_000, 20_000)):
            with contextlib.suppress(OSError):
                kept.append(connect(server))
            if number % 100 == 99:
                most = max(most, sum(one.startswith("socket:") for one in server.files()))
                for one in kept[: len(kept) // 2]:
                    one.close()
                kept = kept[len(kept) // 2 :]
        for one in kept:
            one.close()
    assert most <= 100 + 20, most
    assert "connections are turned away" in server.log()


def is_let_in(connection):
    """Whether the server keeps a connection: it answers, and does not only close."""
    with contextlib.suppress(OSError):
        connection.sendall(b"HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        return connection.recv(12) == b"HTTP/1.1 200"
    return False


def test_r_097_one_address_can_not_take_all_connections(make_server, client_of):
    server = make_server(arguments=["--max-connections-per-address", "20"]).start()
    ann = client_of(server)
    ann.sign_up()
    # From the address of the proxy that is trusted, where the honest come from, too, as many as there are.
    trusted = [connect(server) for _ in range(40)]
    assert all(map(is_let_in, trusted))
    with honest_beside(ann):
        greedy = [connect(server, place="127.0.0.2") for _ in range(rounds(40, 2_000))]
        let_in = [one for one in greedy if is_let_in(one)]
        assert len(let_in) == 20
        assert is_let_in(connect(server, place="127.0.0.3"))
        # The place of one that has gone is free again, once the server has seen that.
        let_in[0].close()
        late = time.monotonic() + 5
        while not is_let_in(connect(server, place="127.0.0.2")):
            assert time.monotonic() < late
            time.sleep(0.01)
    for one in [*trusted, *greedy]:
        one.close()


def test_r_098_a_connection_of_age_ends_and_no_call_fails(make_server, client_of):
    server = make_server(arguments=["--connection-age", "1s"]).start()
    # As the library is by itself: it sends a call again that it handed to a connection just as that one ended, which it
    # alone can know (gRFC A6, transparent retries). Nobody told it to repeat anything else.
    ann = client_of(server, options=[("grpc.use_local_subchannel_pool", 1)])
    ann.sign_up()
    with honest_beside(ann) as honest:
        # It is told twice, so that nothing that was under way is lost, and closed when nothing is.
        raw = Raw(server.address)
        begun = time.monotonic()
        told = []
        for one in raw.frames(10):
            if isinstance(one, frames.PingFrame):
                raw.send(frames.PingFrame(0, opaque_data=one.opaque_data, flags=["ACK"]))
            elif isinstance(one, frames.GoAwayFrame):
                told.append((one.error_code, one.last_stream_id))
        assert told == [(0, 2**31 - 1), (0, 0)]
        assert 0.8 < time.monotonic() - begun < 5
        time.sleep(rounds(3, 30))
    assert len(honest.beside()) > 50


def test_r_098_a_stream_is_handed_over_when_its_connection_is_of_age_and_goes_on_without_a_gap(make_server, client_of):
    server = make_server(arguments=["--connection-age", "1s"]).start()
    ann, watcher = client_of(server), client_of(server)
    ann.sign_up()
    watcher.token = ann.token
    request, answer = messages(f"{TASK}/WatchTasks", watcher.channel)
    watch = watcher.channel.unary_stream(
        f"/{TASK}/WatchTasks", request_serializer=request.SerializeToString, response_deserializer=answer.FromString
    )
    made, seen, handed, enough = [], [], 0, threading.Event()

    def write():
        while not enough.is_set():
            made.append(once(new_id()))
            time.sleep(0.01)

    def once(name):
        # A call that meets the end of its connection is not sent, which this client leaves to its caller to notice.
        while True:
            try:
                return ann.create("seen once", request_id=name).id
            except Refused as refused:
                assert (refused.code.name, refused.reason) == ("UNAVAILABLE", None), refused

    writing = threading.Thread(target=write)
    cursor = ann.call(f"{TASK}/ListTasks").watch_cursor
    writing.start()
    try:
        # A stream may go on for half a minute once its connection has said that it ends.
        while handed < rounds(1, 4):
            try:
                for event in watch(request(cursor=cursor), metadata=watcher.metadata(), timeout=60):
                    cursor = event.change.cursor
                    seen.append(event.change.task_id)
            except grpc.RpcError as error:
                refused = Refused(error)
                assert (refused.code.name, refused.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
                handed += 1
    finally:
        enough.set()
        writing.join()
    # What was made last is in no stream that was read to its end.
    rest = watch(request(cursor=cursor), metadata=watcher.metadata(), timeout=60)
    while seen[-1] != made[-1]:
        seen.append(next(rest).change.task_id)
    rest.cancel()
    assert seen == made, "each once, in order"
