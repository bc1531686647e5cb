"""A client of errand: calls methods by name with messages made from the server's own reflection."""

import functools
import itertools
import time
import uuid

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

AUTH = "errand.auth.v1.AuthService"
TASK = "errand.task.v1.TaskService"
CHAT = "errand.chat.v1.ChatService"

PASSWORD = "correct horse battery staple"

# What no client may ever see, whatever happens to the machine.
NEVER = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}

# One connection each, so that no two clients share one.
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]

_number = itertools.count(1)


class Refused(Exception):
    """An answer that is an error, by its code and its reason; no reason when no server said it. And the seconds to wait, if
    it says so."""

    def __init__(self, error):
        self.code, self.reason, self.said, self.wait = error.code(), None, error.details(), None
        status = rpc_status.from_call(error)
        for packed in status.details if status else []:
            info = error_details_pb2.ErrorInfo()
            if packed.Unpack(info):
                self.reason = info.reason
            retry = error_details_pb2.RetryInfo()
            if packed.Unpack(retry):
                self.wait = retry.retry_delay.ToTimedelta().total_seconds()
        super().__init__(f"{self.code.name} {self.reason}: {self.said}")


class Client:
    """Somebody at a server, from a network address of their own."""

    def __init__(self, server, token=None, options=OPTIONS):
        self.address = server.address
        self.options = options
        self.channel = grpc.insecure_channel(self.address, options=options)
        number = next(_number)
        self.place = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.email = f"person{number}@example.com"
        self.token = token
        self.credentials = None

    def close(self):
        self.channel.close()

    def metadata(self):
        carried = [("x-forwarded-for", self.place)]
        return carried + ([("authorization", f"Bearer {self.token}")] if self.token else [])

    def call(self, method, timeout=30, **fields):
        """Calls `package.Service/Method` with these fields and answers its message, or raises Refused."""
        request, answer = messages(method, self.channel)
        message = json_format.ParseDict(fields, request())
        stub = self.channel.unary_unary(
            f"/{method}", request_serializer=request.SerializeToString, response_deserializer=answer.FromString
        )
        try:
            return stub(message, metadata=self.metadata(), timeout=timeout)
        except grpc.RpcError as error:
            refused = Refused(error)
            assert refused.code not in NEVER, f"{method}: {refused}"
            raise refused from None

    def sign_up(self, **fields):
        """Makes an account and uses it from here on."""
        fields = {"email": self.email, "password": PASSWORD} | fields
        return self._use(self.call(f"{AUTH}/SignUp", **fields))

    def log_in(self):
        return self._use(self.call(f"{AUTH}/LogIn", email=self.email, password=PASSWORD))

    def refresh(self):
        token = self.credentials.refresh_token
        return self._use(self.call(f"{AUTH}/RefreshToken", refresh_token=token))

    def _use(self, answer):
        self.credentials = answer.credentials
        self.token = answer.credentials.access_token
        return answer

    def create(self, title, **fields):
        request_id = fields.pop("request_id", "")
        return self.call(f"{TASK}/CreateTask", task={"title": title} | fields, request_id=request_id)

    def get(self, task_id):
        return self.call(f"{TASK}/GetTask", task_id=task_id)

    def tasks(self, **fields):
        """Every task, page by page."""
        found, token = [], ""
        while True:
            page = self.call(f"{TASK}/ListTasks", page_size=200, page_token=token, **fields)
            found += page.tasks
            token = page.next_page_token
            if not token:
                return found

    def health(self, service=""):
        """The name of the state of a service."""
        answer = health_pb2_grpc.HealthStub(self.channel).Check(
            health_pb2.HealthCheckRequest(service=service), timeout=10
        )
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    def await_health(self, state, service=TASK):
        """Waits until health says this of a service and of the whole, without any write of ours."""
        late = time.monotonic() + 15
        while (said := (self.health(service), self.health("readiness"))) != (state, state):
            assert time.monotonic() < late, f"health says {said}, not {state}"
            time.sleep(0.1)


def refusal(call, *arguments, **fields):
    """The error that a call must give."""
    try:
        answer = call(*arguments, **fields)
    except Refused as refused:
        return refused
    raise AssertionError(f"the call succeeded: {answer}")


def new_id():
    """A request_id that nobody has used."""
    return str(uuid.uuid4())


_pool = None


@functools.cache
def _messages(method):
    service, name = method.split("/")
    descriptor = _pool.FindServiceByName(service).FindMethodByName(name)
    return tuple(map(message_factory.GetMessageClass, (descriptor.input_type, descriptor.output_type)))


def messages(method, channel):
    """The classes of a method's request and answer. All servers of a run have one contract, which is read once."""
    global _pool
    if _pool is None:
        known = ProtoReflectionDescriptorDatabase(channel)
        _pool = descriptor_pool.DescriptorPool(known)
        # Everything now, while this server is there.
        for service in (AUTH, TASK, CHAT):
            for one in _pool.FindServiceByName(service).methods:
                _messages(f"{service}/{one.name}")
    return _messages(method)


def has_method(method, channel):
    """Whether the contract has a method."""
    service, name = method.split("/")
    messages(f"{TASK}/CreateTask", channel)
    return any(one.name == name for one in _pool.FindServiceByName(service).methods)
