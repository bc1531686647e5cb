"""A peer that speaks frames of HTTP/2 and bytes as it likes."""

import contextlib
import socket
import ssl
import threading
import time

import hpack
from hyperframe import frame as frames

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PROTOCOL_ERROR = 1
ENHANCE_YOUR_CALM = 11
REFUSED_STREAM = 7

# What the server gives a peer that is silent or slow, with a little for a machine that is busy.
SLOW = 8 + 2
# And one that does not read.
UNREAD = 20 + 5


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


def trusting(certificate, **identity):
    """How a client of TLS sees a server with this certificate."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if identity:
        context.load_cert_chain(identity["cert"], identity["key"])
    return context
