"""What a browser's gRPC-Web library puts on the wire, spoken by hand over HTTP/1.1 so that every byte is seen."""

import base64
import http.client
import struct

import pytest
from conftest import ORIGIN, PASSWORD, new_email, new_place

SIGN_UP = "/errand.auth.v1.AuthService/SignUp"
CREATE_TASK = "/errand.task.v1.TaskService/CreateTask"
LIST_TASKS = "/errand.task.v1.TaskService/ListTasks"
BINARY = "application/grpc-web+proto"
TEXT = "application/grpc-web-text+proto"
TRAILERS = 0x80


def field(number, value):
    """One field of a protobuf message: text or an embedded message."""
    data = value.encode() if isinstance(value, str) else value
    assert number < 16 and len(data) < 16384, "larger ones are not needed here"
    length = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
    return bytes([number << 3 | 2]) + length + data


def fields(message):
    """The fields of a protobuf message that are text, bytes or messages, by number; numbers are skipped."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            varint()
            continue
        assert key & 7 == 2, "none of these messages has other types"
        length = varint()
        found.setdefault(key >> 3, []).append(message[at : at + length])
        at += length
    return found


def frame(message):
    """A message with the five bytes before it."""
    return struct.pack(">BI", 0, len(message)) + message


def frames(body):
    """The frames of a body: flags and content."""
    found, at = [], 0
    while at < len(body):
        flags, length = struct.unpack_from(">BI", body, at)
        content = body[at + 5 : at + 5 + length]
        assert len(content) == length, "the last frame is cut short"
        found.append((flags, content))
        at += 5 + length
    return found


def text_body(body):
    """Decodes base64 that may consist of several padded pieces."""
    decoded, piece = b"", b""
    for at in range(0, len(body), 4):
        piece += body[at : at + 4]
        if piece.endswith(b"="):
            decoded, piece = decoded + base64.b64decode(piece), b""
    return decoded + base64.b64decode(piece)


class Answer:
    """An answer taken apart: HTTP status, headers, messages and trailers."""

    def __init__(self, response):
        self.http = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        body = response.read()
        if "grpc-web-text" in self.headers.get("content-type", ""):
            body = text_body(body)
        self.frames = frames(body)
        self.messages = [content for flags, content in self.frames if not flags & TRAILERS]
        self.trailers = {}
        for flags, content in self.frames:
            if flags & TRAILERS:
                lines = content.decode("ascii").split("\r\n")
                assert lines.pop() == "", "every line of the trailers ends with CR LF"
                self.trailers.update(line.split(":", 1) for line in lines)

    @property
    def status(self):
        """The gRPC status, from the trailers or, without a body, from the headers."""
        return int(self.trailers.get("grpc-status", self.headers.get("grpc-status", -1)))


class Browser:
    """Sends what a browser would send."""

    def __init__(self, server):
        self.address = server.address
        self.place = new_place()
        self.token = None

    def request(self, verb, path, body=None, headers=None):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(verb, path, body, {"origin": ORIGIN, "x-forwarded-for": self.place, **(headers or {})})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def call(self, path, message, content_type=BINARY, **more):
        body = frame(message)
        if content_type == TEXT:
            body = base64.b64encode(body)
        headers = {"content-type": content_type, "accept": content_type, "x-grpc-web": "1"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        return self.request("POST", path, body, headers | {name.replace("_", "-"): value for name, value in more.items()})


@pytest.fixture
def browser(server):
    """A browser without a token."""
    return Browser(server)


@pytest.fixture
def person(browser):
    """A browser with the token of somebody who has just signed up."""
    answer = browser.call(SIGN_UP, field(1, new_email()) + field(2, PASSWORD))
    assert answer.status == 0, answer.trailers
    (credentials,) = fields(answer.messages[0])[2]
    browser.token = fields(credentials)[1][0].decode()
    return browser


def titles(answer):
    """The titles in an answer of ListTasks."""
    return [fields(task)[2][0].decode() for task in fields(answer.messages[0]).get(1, [])]


@pytest.mark.parametrize("content_type", [BINARY, TEXT, "application/grpc-web"])
def test_a_browser_signs_up_makes_a_task_and_lists_it(browser, content_type):
    answer = browser.call(SIGN_UP, field(1, new_email()) + field(2, PASSWORD), content_type)
    (credentials,) = fields(answer.messages[0])[2]
    browser.token = fields(credentials)[1][0].decode()
    assert browser.call(CREATE_TASK, field(1, field(2, "Buy milk")), content_type).status == 0
    answer = browser.call(LIST_TASKS, b"", content_type)
    assert (answer.http, answer.status, titles(answer)) == (200, 0, ["Buy milk"])
    assert answer.headers["content-type"].startswith(content_type.removesuffix("+proto"))


def test_an_answer_is_one_message_frame_and_one_trailer_frame(person):
    answer = person.call(LIST_TASKS, b"")
    assert [flags for flags, _ in answer.frames] == [0, TRAILERS]
    content = answer.frames[1][1]
    assert content == content.lower() and b": " not in content
    assert answer.trailers["grpc-status"] == "0"


def test_an_error_without_a_message_has_no_empty_trailer_frame(browser):
    answer = browser.call(LIST_TASKS, b"")
    assert (answer.http, answer.status) == (200, 16)
    assert all(content for _, content in answer.frames)
    details = answer.trailers.get("grpc-status-details-bin") or answer.headers["grpc-status-details-bin"]
    assert b"TOKEN_MISSING" in base64.b64decode(details + "=" * (-len(details) % 4))


def test_an_error_message_is_percent_encoded(person):
    answer = person.call(CREATE_TASK, field(1, field(2, "x" * 201)))
    message = answer.trailers.get("grpc-message") or answer.headers["grpc-message"]
    assert answer.status == 3
    assert message.isascii() and "\n" not in message


def test_an_error_can_be_read_by_a_page_of_an_allowed_origin(browser):
    answer = browser.call(LIST_TASKS, b"")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert all(name in exposed for name in ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"])


def test_a_preflight_is_answered_without_a_token(browser):
    wanted = "authorization,content-type,x-grpc-web,grpc-timeout"
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": wanted}
    answer = browser.request("OPTIONS", LIST_TASKS, headers=preflight)
    assert answer.http in (200, 204)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "origin" in answer.headers["vary"].lower()
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in wanted.split(","))
    assert "POST" in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize(("timeout", "status"), [("1n", 4), ("soon", 3), ("10S", 0)])
def test_a_timeout_is_kept_by_the_server(person, timeout, status):
    assert person.call(LIST_TASKS, b"", grpc_timeout=timeout).status == status


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_a_foreign_origin_gets_no_permission(browser, origin):
    preflight = {"origin": origin, "access-control-request-method": "POST"}
    answer = browser.request("OPTIONS", LIST_TASKS, headers=preflight)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("verb", "content_type", "expected"), [("PUT", BINARY, 405), ("GET", BINARY, 400), ("POST", "text/plain", 415)])
def test_what_is_no_grpc_web_is_refused_by_http(person, verb, content_type, expected):
    headers = {"content-type": content_type, "authorization": f"Bearer {person.token}"}
    connection = http.client.HTTPConnection(person.address, timeout=30)
    connection.request(verb, LIST_TASKS, frame(b"") if verb == "POST" else None, headers)
    assert connection.getresponse().status == expected
    connection.close()


def test_healthz_says_ok(server):
    connection = http.client.HTTPConnection(server.address, timeout=30)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()
