"""Calls one of the two doors in every face that they share, and says each answer so that two can be compared."""

import base64
import contextlib
import http.client
import json
import re

import grpc
from conftest import PASSWORD, new_email, new_place
from envoy_edges import ORIGIN
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from test_grpc_web import TRAILERS, frame, frames, text_body

AUTH, TASK, CHAT = (f"errand.{name}.v1.{name.capitalize()}Service" for name in ("auth", "task", "chat"))
BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text+proto"

# What is different in every answer, and what stands for it.
VARYING = [
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "<token>"),
    (re.compile(r"[0-9a-f]{32}\.[\w-]{20,}"), "<refresh token>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"person\d+@example\.com"), "<address>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<door>"),
    (re.compile(r"203\.0\.113\.\d+"), "<place>"),
    (re.compile(r"\d+\.\d+s"), "<duration>"),
]
# What is sealed with random bytes, or holds bytes that vary, by its name.
SEALED = {"nextPageToken", "watchCursor", "cursor", "value", "hash"}
# How a message is cut into pieces is nobody's business.
FRAMING = {"date", "connection", "transfer-encoding", "content-length", "keep-alive"}


def settled(value, name=""):
    """A value of JSON with everything that varies replaced."""
    if isinstance(value, dict):
        return {key: settled(inner, key) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [settled(inner, name) for inner in value]
    if not isinstance(value, str):
        return value
    if name in SEALED and value:
        return f"<{name}>"
    for pattern, word in VARYING:
        value = pattern.sub(word, value)
    return value


class Contracts:
    """The messages of the contracts, from what `errand descriptors` prints."""

    def __init__(self, data):
        self.pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
            self.pool.Add(file)

    def method(self, path):
        service, name = path.split("/")
        return self.pool.FindServiceByName(service).FindMethodByName(name)

    def encode(self, path, fields):
        message = message_factory.GetMessageClass(self.method(path).input_type)()
        return json_format.ParseDict(fields, message, descriptor_pool=self.pool).SerializeToString()

    def decode(self, path, data):
        """An answer as JSON; as it is where the contracts do not have the method."""
        try:
            return self.read(self.method(path).output_type, data)
        except KeyError:
            return data.hex()

    def read(self, descriptor, data):
        message = message_factory.GetMessageClass(descriptor).FromString(data)
        return json_format.MessageToDict(message, descriptor_pool=self.pool)

    def is_public(self, method):
        """Whether anybody may call a method, as its options say."""
        options = message_factory.GetMessageClass(self.pool.FindMessageTypeByName("google.protobuf.MethodOptions"))
        access = self.pool.FindExtensionByName("errand.options.v1.access")
        said = options.FromString(method.GetOptions().SerializeToString()).Extensions[access]
        return access.enum_type.values_by_number[said].name == "ACCESS_PUBLIC"

    def status(self, text):
        """`grpc-status-details-bin` as JSON."""
        data = base64.b64decode(text + "=" * (-len(text) % 4)) if isinstance(text, str) else text
        return self.read(self.pool.FindMessageTypeByName("google.rpc.Status"), data)


class Answer(dict):
    """What an answer says, field by field: `http`, `code`, `body`, `header vary`, `error reason`..."""

    @property
    def body(self):
        return self["raw"]

    def compared(self):
        """The fields that have to be the same."""
        counts = {"header x-ratelimit-remaining": "<number>", "header x-ratelimit-reset": "<number>"}
        return {name: counts.get(name, settled(value, name)) for name, value in self.items() if name != "raw"}

    def failed(self, status):
        """Takes a google.rpc.Status apart."""
        self["code"] = status.get("code", 0)
        self["error message"] = status.get("message", "")
        for detail in status.get("details", []):
            kind = detail["@type"].rpartition(".")[2]
            self[f"error {kind}"] = {name: value for name, value in detail.items() if name != "@type"}

    @property
    def reason(self):
        return self.get("error ErrorInfo", {}).get("reason")


class Caller:
    """A client of one door, who calls from a place of its own."""

    def __init__(self, edge, contracts):
        self.edge, self.contracts = edge, contracts
        self.place = new_place()
        self.token = None
        self.email = new_email()
        self.said = {}
        self.channel = grpc.insecure_channel(edge.address)

    # What each face is called with.

    def headers(self, headers):
        given = {"x-forwarded-for": self.place}
        if self.token:
            given["authorization"] = f"Bearer {self.token}"
        return {name: value for name, value in (given | headers).items() if value is not None}

    def exchange(self, verb, path, body=None, headers=None):
        """One request of HTTP/1.1: status, headers and body."""
        connection = http.client.HTTPConnection(self.edge.address, timeout=30)
        try:
            # Who refuses a body may stop reading it, and still says why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(verb, path, body, self.headers(headers or {}))
            response = connection.getresponse()
            return response.status, [(name.lower(), value) for name, value in response.getheaders()], response.read()
        finally:
            connection.close()

    def plain(self, verb, path, body=None, headers=None):
        """REST, CORS and whatever else is plain HTTP."""
        headers = dict(headers or {})
        if isinstance(body, dict):
            body = json.dumps(body)
            headers.setdefault("content-type", "application/json")
        status, said, content = self.exchange(verb, path, body, headers)
        answer = self.answer(status, said)
        try:
            answer["raw"] = json.loads(content) if content else None
        except ValueError:
            answer["raw"] = content.decode(errors="replace")
        if isinstance(answer["raw"], dict) and isinstance(answer["raw"].get("code"), int) and "details" in answer["raw"]:
            answer.failed(answer["raw"])
        else:
            answer["body"] = answer["raw"]
        return answer

    def web(self, path, fields=None, content_type=BINARY, body=None, **more):
        """gRPC-Web."""
        body = frame(self.contracts.encode(path, fields or {})) if body is None else body
        if "text" in content_type:
            body = base64.b64encode(body)
        headers = {"content-type": content_type, "accept": content_type, "x-grpc-web": "1", "origin": ORIGIN}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        status, said, content = self.exchange("POST", f"/{path}", body, headers)
        answer = self.answer(status, said, ended=False)
        trailers = dict(said)
        answer["trailers"] = "in the headers"
        answer["raw"] = []
        if content:
            is_web = trailers.get("content-type", "").startswith("application/grpc-web")
            if not is_web:
                answer["raw"] = content.decode(errors="replace")
                return answer
            content = text_body(content) if "-text" in trailers["content-type"] else content
            answer["raw"] = [self.contracts.decode(path, data) for flags, data in frames(content) if not flags & TRAILERS]
            for flags, data in frames(content):
                if flags & TRAILERS:
                    answer["trailers"] = "in a frame"
                    trailers |= dict(line.split(":", 1) for line in data.decode().split("\r\n") if line)
        answer["body"] = answer["raw"]
        answer["code"] = int(trailers.get("grpc-status", -1))
        if details := trailers.get("grpc-status-details-bin"):
            answer.failed(self.contracts.status(details))
        return answer

    def native(self, path, fields=None, timeout=20, metadata=(), enough=None, compression=None):
        """Native gRPC: one answer, or the first of a stream."""
        try:
            method = self.contracts.method(path)
            body = self.contracts.encode(path, fields or {})
            streams = method.server_streaming
        except KeyError:
            # No method of the contracts: what is said is not looked into.
            body, streams = b"", False
        metadata = [*self.headers({}).items(), *metadata]
        make = self.channel.unary_stream if streams else self.channel.unary_unary
        call = make(f"/{path}")
        answer = Answer(raw=[])
        try:
            if streams:
                running = call(body, metadata=metadata, timeout=timeout)
                for message in running:
                    answer["raw"].append(self.contracts.decode(path, message))
                    if enough and len(answer["raw"]) >= enough:
                        running.cancel()
                        break
                first, last = (running.initial_metadata(), running.trailing_metadata()) if not enough else ((), ())
            else:
                message, running = call.with_call(body, metadata=metadata, timeout=timeout, compression=compression)
                answer["raw"].append(self.contracts.decode(path, message))
                first, last = running.initial_metadata(), running.trailing_metadata()
            answer["code"] = 0
        except grpc.RpcError as error:
            first, last = error.initial_metadata() or (), error.trailing_metadata() or ()
            answer["code"], answer["error message"] = error.code().value[0], error.details()
        answer["body"] = answer["raw"]
        for name, value in [*first, *last]:
            if name == "grpc-status-details-bin":
                answer.failed(self.contracts.status(value))
            elif name not in FRAMING:
                answer[f"header {name}"] = value
        return answer

    @staticmethod
    def answer(status, said, ended=True):
        """An answer with its headers, without those of gRPC where `web` reads them."""
        answer = Answer(http=status)
        for name, value in said:
            if name not in FRAMING and (ended or not name.startswith("grpc-")):
                answer[f"header {name}"] = value
        return answer

    # The account.

    def sign_up(self):
        """Makes an account and uses it from here on."""
        answer = self.plain("POST", "/v1/auth/signup", {"email": self.email, "password": PASSWORD})
        assert answer["http"] == 200, answer
        self.said["sign up"] = answer.body
        self.token = answer.body["credentials"]["accessToken"]
        return self

    @property
    def refresh_token(self):
        return self.said["sign up"]["credentials"]["refreshToken"]
