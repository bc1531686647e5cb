"""What a program does with Google's gRPC for Python: the messages are made from the server's own reflection."""

import time

import grpc
import pytest
from conftest import PASSWORD, new_email, new_place
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

AUTH = "errand.auth.v1.AuthService"
TASK = "errand.task.v1.TaskService"
CHAT = "errand.chat.v1.ChatService"


class Client:
    """Calls methods by name; messages are built from what reflection says."""

    def __init__(self, server):
        self.channel = grpc.insecure_channel(server.address)
        self.reflection = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.reflection)
        self.place = new_place()
        self.token = None

    def call(self, method, timeout=30, **fields):
        """Calls `package.Service/Method` with these fields and answers its message."""
        service, name = method.split("/")
        descriptor = self.pool.FindServiceByName(service).FindMethodByName(name)
        request = message_factory.GetMessageClass(descriptor.input_type)()
        json_format.ParseDict(fields, request, descriptor_pool=self.pool)
        answer = message_factory.GetMessageClass(descriptor.output_type)
        stub = self.channel.unary_unary(
            f"/{method}", request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )
        metadata = [("x-forwarded-for", self.place)]
        if self.token:
            metadata.append(("authorization", f"Bearer {self.token}"))
        return stub(request, metadata=metadata, timeout=timeout)

    def stream(self, method, timeout=30, **fields):
        """Opens a stream of `package.Service/Method`."""
        service, name = method.split("/")
        descriptor = self.pool.FindServiceByName(service).FindMethodByName(name)
        request = message_factory.GetMessageClass(descriptor.input_type)()
        json_format.ParseDict(fields, request, descriptor_pool=self.pool)
        answer = message_factory.GetMessageClass(descriptor.output_type)
        stub = self.channel.unary_stream(
            f"/{method}", request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )
        return stub(request, metadata=[("authorization", f"Bearer {self.token}")], timeout=timeout)

    def sign_up(self):
        """Makes an account and uses it from here on."""
        answer = self.call(f"{AUTH}/SignUp", email=new_email(), password=PASSWORD)
        self.token = answer.credentials.access_token
        return answer


@pytest.fixture
def client(server):
    """A client without a token."""
    client = Client(server)
    yield client
    client.channel.close()


@pytest.fixture
def person(client):
    """A client with the token of somebody who has just signed up."""
    client.sign_up()
    return client


def details_of(error):
    """The details of an error, by type."""
    found = {}
    for packed in rpc_status.from_call(error).details:
        kind = getattr(error_details_pb2, packed.type_url.rsplit(".", 1)[1])
        found[kind] = kind()
        assert packed.Unpack(found[kind])
    return found


def reason_of(error):
    """The reason of an error, which is in its only ErrorInfo."""
    info = details_of(error)[error_details_pb2.ErrorInfo]
    assert info.domain == "errand"
    return info.reason


def test_health_answers_for_the_suite_and_each_service(client):
    health = health_pb2_grpc.HealthStub(client.channel)
    for service in ["", AUTH, TASK, CHAT, "liveness", "readiness"]:
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service


def test_watching_health_tells_the_state_at_once(client):
    watch = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest(service=TASK), timeout=5)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


def test_watching_the_health_of_an_unknown_service_says_so_and_stays_open(client):
    unknown = health_pb2.HealthCheckRequest(service="errand.cake.v1.CakeService")
    watch = health_pb2_grpc.HealthStub(client.channel).Watch(unknown, timeout=1)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    with pytest.raises(grpc.RpcError) as error:
        next(watch)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_reflection_knows_every_service_and_the_types_of_error_details(client):
    assert {AUTH, TASK, CHAT} <= set(client.reflection.get_services())
    assert client.pool.FindMessageTypeByName("google.rpc.ErrorInfo")


def test_a_whole_day_from_signing_up_to_logging_out(client):
    email = new_email()
    signed_up = client.call(f"{AUTH}/SignUp", email=email, password=PASSWORD, display_name="Ada")
    session = client.call(f"{AUTH}/LogIn", email=email, password=PASSWORD)
    assert session.user.id == signed_up.user.id
    assert session.credentials.expires_in.seconds == 15 * 60
    client.token = session.credentials.access_token

    task = client.call(f"{TASK}/CreateTask", task={"title": "Buy milk", "labels": ["home"], "due_time": "2030-01-02T03:04:05Z"})
    assert task.due_time.ToJsonString() == "2030-01-02T03:04:05Z"
    changed = client.call(
        f"{TASK}/UpdateTask", task={"id": task.id, "etag": task.etag, "title": "Buy oat milk"}, update_mask="title,labels"
    )
    # A path that the mask names and the task leaves out is emptied; the others stay.
    assert (changed.title, list(changed.labels), changed.due_time) == ("Buy oat milk", [], task.due_time)
    done = client.call(f"{TASK}/CompleteTask", task_id=task.id, etag=changed.etag)
    assert done.completed and done.HasField("complete_time")

    answer = client.call(f"{CHAT}/SendMessage", content="add water the plants tomorrow")
    assert [call.name for call in answer.tool_calls] == ["add_tasks"]
    open_tasks = client.call(f"{TASK}/ListTasks", completed=False).tasks
    assert [task.title.lower() for task in open_tasks] == ["water the plants"]
    again = client.call(f"{CHAT}/SendMessage", conversation_id=answer.conversation_id, content="what do I have to do?")
    assert "water the plants" in again.response.lower()

    renewed = client.call(f"{AUTH}/RefreshToken", refresh_token=session.credentials.refresh_token).credentials
    client.token = renewed.access_token
    client.call(f"{AUTH}/LogOut")
    with pytest.raises(grpc.RpcError) as error:
        client.call(f"{AUTH}/RefreshToken", refresh_token=renewed.refresh_token)
    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_watch_sees_each_change_once_and_goes_on_where_it_stopped(person):
    cursor = person.call(f"{TASK}/ListTasks").watch_cursor
    first = person.call(f"{TASK}/CreateTask", task={"title": "First"})
    watch = person.stream(f"{TASK}/WatchTasks", cursor=cursor)
    seen = next(watch).change
    assert (seen.task_id, seen.after.title) == (first.id, "First")
    watch.cancel()
    person.call(f"{TASK}/CompleteTask", task_id=first.id)
    watch = person.stream(f"{TASK}/WatchTasks", cursor=seen.cursor)
    assert next(watch).change.after.completed
    watch.cancel()


def test_a_watch_ends_at_its_deadline_with_a_reason(person):
    with pytest.raises(grpc.RpcError) as error:
        list(person.stream(f"{TASK}/WatchTasks", timeout=0.5))
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_chat_is_streamed_resumed_and_undone(person):
    events = list(person.stream(f"{CHAT}/StreamMessage", content="add buy milk and call mum"))
    kinds = [event.WhichOneof("event") for event in events]
    assert (kinds[0], kinds[-1]) == ("started", "replied")
    assert [event.seq for event in events if event.seq] == list(range(1, len(events) + 1))
    turn = events[0].turn_id
    resumed = list(person.stream(f"{CHAT}/ResumeTurn", turn_id=turn, after_seq=1))
    assert resumed == events[1:]
    assert len(person.call(f"{TASK}/ListTasks").tasks) >= 1
    preview = person.call(f"{TASK}/UndoChanges", turn_id=turn, validate_only=True)
    assert len(preview.tasks) >= 1
    person.call(f"{TASK}/UndoChanges", turn_id=turn)
    assert len(person.call(f"{TASK}/ListTasks").tasks) == 0


def test_pages_walk_through_every_task_once(person):
    made = [person.call(f"{TASK}/CreateTask", task={"title": f"Task {number}"}).id for number in range(10)]
    seen, token = [], ""
    while True:
        page = person.call(f"{TASK}/ListTasks", page_size=4, page_token=token, order_by="create_time desc")
        seen += [task.id for task in page.tasks]
        token = page.next_page_token
        if not token:
            break
    assert seen == made[::-1]


def test_a_page_token_serves_only_whom_it_was_given_to(server, person):
    for number in range(3):
        person.call(f"{TASK}/CreateTask", task={"title": f"Task {number}"})
    token = person.call(f"{TASK}/ListTasks", page_size=1).next_page_token
    stranger = Client(server)
    stranger.sign_up()
    for client, filters in [(stranger, {}), (person, {"query": "task"})]:
        with pytest.raises(grpc.RpcError) as error:
            client.call(f"{TASK}/ListTasks", page_size=1, page_token=token, **filters)
        assert (error.value.code(), reason_of(error.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
    stranger.channel.close()


def test_a_stale_etag_is_aborted(person):
    task = person.call(f"{TASK}/CreateTask", task={"title": "Once"})
    person.call(f"{TASK}/UpdateTask", task={"id": task.id, "title": "Twice"}, update_mask="title")
    with pytest.raises(grpc.RpcError) as error:
        person.call(f"{TASK}/CompleteTask", task_id=task.id, etag=task.etag)
    assert (error.value.code(), reason_of(error.value)) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")


def test_error_details_name_the_fields_and_the_request(person):
    with pytest.raises(grpc.RpcError) as error:
        person.call(f"{TASK}/CreateTask", task={"title": "ok", "labels": ["a", "a"], "description": "nul \0"})
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    details = details_of(error.value)
    fields = {(violation.field, violation.reason) for violation in details[error_details_pb2.BadRequest].field_violations}
    assert fields == {("task.labels[1]", "DUPLICATE"), ("task.description", "INVALID_FORMAT")}
    request_id = dict(error.value.initial_metadata() + error.value.trailing_metadata())["x-request-id"]
    assert details[error_details_pb2.RequestInfo].request_id == request_id


def test_a_deadline_ends_a_call_in_time_and_leaves_the_connection_as_it_was(person):
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as error:
        # A password takes longer than this to be hashed.
        person.call(f"{AUTH}/SignUp", timeout=0.001, email=new_email(), password=PASSWORD)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 5
    assert len(person.call(f"{TASK}/ListTasks").tasks) == 0


def test_a_method_that_does_not_exist_is_unimplemented(person):
    stub = person.channel.unary_unary(f"/{TASK}/BakeCake")
    with pytest.raises(grpc.RpcError) as error:
        stub(b"", timeout=5)
    assert (error.value.code(), reason_of(error.value)) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")


def test_bytes_that_are_no_message_are_the_callers_fault(person):
    stub = person.channel.unary_unary(f"/{TASK}/CreateTask")
    with pytest.raises(grpc.RpcError) as error:
        stub(b"\xff\xff\xff", metadata=[("authorization", f"Bearer {person.token}")], timeout=5)
    assert (error.value.code(), reason_of(error.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")
