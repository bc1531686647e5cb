"""A peer that speaks frames of HTTP/2 and bytes as it likes, and somebody honest beside it."""

import contextlib
import itertools
import json
import math
import pathlib
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

import hpack
from client import TASK, messages
from conftest import FULL
from hyperframe import frame as frames

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ENHANCE_YOUR_CALM = 11
REFUSED_STREAM = 7

# What the server gives a peer that is silent or slow, with a little for a machine that is busy.
SLOW = 8 + 2
# And one that does not read.
UNREAD = 20 + 5

# Of so many calls a p99 says something.
ENOUGH = 1_000


class Raw:
    """A connection whose frames are made here. `window` is what streams may receive at first."""

    def __init__(self, address, window=65_535, settings=True, tls=None, receive_buffer=None):
        host, port = address.rsplit(":", 1)
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(30)
        self.socket.connect((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=host)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.address = address
        self.unread = b""
        self.next_stream = 1
        self.done = set()
        if settings:
            first = frames.SettingsFrame(0, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: window})
            self.send(PREFACE, first)

    def close(self):
        self.socket.close()

    def send(self, *parts):
        """Sends bytes and frames."""
        self.socket.sendall(b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts))

    def headers(self, path, metadata=(), end_headers=True, end_stream=False, **overrides):
        """The HEADERS of a gRPC call on a new stream."""
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": self.address}
        fields |= {"content-type": "application/grpc", "te": "trailers"} | overrides
        block = self.encoder.encode([*fields.items(), *metadata])
        head = frames.HeadersFrame(self.next_stream, data=block)
        self.next_stream += 2
        if end_headers:
            head.flags.add("END_HEADERS")
        if end_stream:
            head.flags.add("END_STREAM")
        return head

    def data(self, stream, data=b"\0\0\0\0\0", end_stream=True):
        piece = frames.DataFrame(stream, data=data)
        if end_stream:
            piece.flags.add("END_STREAM")
        return piece

    def call(self, path, message=b"", metadata=()):
        """The frames of a call with one message."""
        head = self.headers(path, metadata)
        return [head, self.data(head.stream_id, b"\0" + len(message).to_bytes(4, "big") + message)]

    def frames(self, seconds=30):
        """What comes from the server, frame by frame, until it closes or the time is over."""
        late = time.monotonic() + seconds
        while True:
            while len(self.unread) >= 9:
                one, length = frames.Frame.parse_frame_header(memoryview(self.unread[:9]))
                if len(self.unread) < 9 + length:
                    break
                one.parse_body(memoryview(self.unread[9 : 9 + length]))
                self.unread = self.unread[9 + length :]
                yield one
            left = late - time.monotonic()
            if left <= 0:
                raise TimeoutError("the server neither said nor did anything")
            self.socket.settimeout(left)
            try:
                more = self.socket.recv(65_536)
            except (ConnectionResetError, BrokenPipeError):
                return
            if not more:
                return
            self.unread += more

    def end(self, seconds=30):
        """Reads until the server closes; answers its GOAWAY, if there was one, and the frames before it."""
        seen = list(self.frames(seconds))
        goaways = [one for one in seen if isinstance(one, frames.GoAwayFrame)]
        return (goaways[-1] if goaways else None), seen

    def answers(self, count, seconds=30):
        """What ended the next streams: for each its fields, or the code of its reset."""
        ended = {}
        for one in self.frames(seconds):
            if isinstance(one, frames.SettingsFrame) and "ACK" not in one.flags:
                self.send(frames.SettingsFrame(0, flags=["ACK"]))
            elif isinstance(one, frames.PingFrame) and "ACK" not in one.flags:
                self.send(frames.PingFrame(0, opaque_data=one.opaque_data, flags=["ACK"]))
            elif isinstance(one, frames.HeadersFrame):
                fields = dict(self.decoder.decode(one.data))
                if "END_STREAM" in one.flags:
                    ended[one.stream_id] = fields
            elif isinstance(one, frames.DataFrame) and "END_STREAM" in one.flags:
                ended.setdefault(one.stream_id, {})
            elif isinstance(one, frames.RstStreamFrame):
                ended.setdefault(one.stream_id, one.error_code)
            elif isinstance(one, frames.GoAwayFrame) and one.error_code:
                raise ConnectionError(f"GOAWAY {one.error_code} {one.additional_data}")
            # A call that is answered before all of it is sent is reset behind its answer.
            ended = {stream: how for stream, how in ended.items() if stream not in self.done}
            if len(ended) == count:
                self.done |= ended.keys()
                return ended
        raise ConnectionError(f"closed after {len(ended)} of {count}")


def flood(raw, frame, count, together=500):
    """Sends a frame again and again from a thread of its own, until the server has had enough."""

    def run():
        piece = frame.serialize() if not isinstance(frame, bytes) else frame
        with contextlib.suppress(OSError):
            for _ in range(0, count, together):
                raw.socket.sendall(piece * together)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


class Honest:
    """Somebody who works while something happens, and whose every call must succeed: `honest.py`, and what it says."""

    def __init__(self, client, pause=0.005):
        request, _ = messages(f"{TASK}/GetTask", client.channel)
        task = client.create("beside an attack")
        wanted = {
            "address": client.address,
            "options": client.options,
            "method": f"/{TASK}/GetTask",
            "request": request(task_id=task.id).SerializeToString().hex(),
            "metadata": client.metadata(),
            "pause": pause,
        }
        program = [sys.executable, "-B", str(pathlib.Path(__file__).with_name("honest.py"))]
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

    def calm(self):
        """How long the calls took before the attack."""
        return [took for begun, took, _ in self.calls if begun < self.began]

    def beside(self):
        """How long they took since it began."""
        return [took for begun, took, _ in self.calls if begun >= self.began]

    def wait_for(self, count, calls):
        late = time.monotonic() + 60
        while len(calls()) < count:
            assert time.monotonic() < late and self.process.poll() is None, f"{len(calls())} calls"
            time.sleep(0.01)

    def rounds(self, quick):
        """The rounds of an attack; in the full size as many as it takes to say what the honest one's p99 is beside it."""
        late = time.monotonic() + 120
        for number in itertools.count():
            if number >= quick and not (FULL and len(self.beside()) < ENOUGH and time.monotonic() < late):
                return
            yield number

    def stop(self):
        self.process.communicate(timeout=30)
        self.reading.join()


@contextlib.contextmanager
def honest_beside(client):
    """An honest client that sees no error. In the full size its p99 is at most doubled, against a calm time before."""
    honest = Honest(client)
    try:
        honest.wait_for(ENOUGH if FULL else 20, honest.calm)
        honest.began = time.monotonic()
        yield honest
        honest.wait_for(10, honest.beside)
    finally:
        honest.stop()
    failed = [error for _, _, error in honest.calls if error]
    assert not failed, failed[:5]
    assert client.health() == "SERVING"
    if FULL:
        calm, beside = honest.calm(), honest.beside()
        before, during = p99(calm), p99(beside)
        print(f"p99 of {len(calm)} calls {before * 1000:.1f} ms, beside it of {len(beside)} {during * 1000:.1f} ms")
        # Below this it is the scheduler of the machine.
        assert during <= max(2 * before, 0.02), (before, during)


def p99(took):
    return statistics.quantiles(took, n=100)[98]


def trusting(certificate, **identity):
    """How a client of TLS sees a server with this certificate."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if identity:
        context.load_cert_chain(identity["cert"], identity["key"])
    return context
