"""What an operator does with the real grpcurl 1.8.6, which knows the contracts only by reflection (v1alpha)."""

import json
import subprocess

import pytest
from conftest import PASSWORD, new_email, new_place

AUTH = "errand.auth.v1.AuthService"
TASK = "errand.task.v1.TaskService"
CHAT = "errand.chat.v1.ChatService"


class Refused(Exception):
    """An error of the server, as grpcurl shows it."""

    def __init__(self, answer):
        super().__init__(answer["message"])
        self.code = answer["code"]
        self.details = {detail["@type"].rsplit("/", 1)[1]: detail for detail in answer.get("details", [])}

    @property
    def reason(self):
        return self.details["google.rpc.ErrorInfo"]["reason"]


class Grpcurl:
    """Runs grpcurl against the server."""

    def __init__(self, server):
        self.address = server.address
        self.place = new_place()
        self.token = None

    def text(self, *arguments):
        """Runs a command and answers what it prints."""
        command = ["grpcurl", "-plaintext", self.address, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stream(self, method, request, seconds):
        """Follows a stream for some seconds and answers its messages."""
        flags = ["-plaintext", "-max-time", str(seconds), "-H", f"authorization: Bearer {self.token}"]
        command = ["grpcurl", *flags, "-d", json.dumps(request), self.address, method]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        messages, rest, decoder = [], done.stdout.strip(), json.JSONDecoder()
        while rest:
            message, end = decoder.raw_decode(rest)
            messages.append(message)
            rest = rest[end:].strip()
        return messages

    def call(self, method, request=None):
        """Calls a method and answers its message."""
        flags = ["-plaintext", "-format-error", "-H", f"x-forwarded-for: {self.place}", "-d", json.dumps(request or {})]
        if self.token:
            flags += ["-H", f"authorization: Bearer {self.token}"]
        command = ["grpcurl", *flags, self.address, method]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout)
        # Exit codes from 64 on are errors of the server.
        assert done.returncode > 64, done.stderr
        raise Refused(json.loads(done.stderr))


@pytest.fixture
def grpcurl(server):
    """grpcurl without a token."""
    return Grpcurl(server)


@pytest.fixture
def person(grpcurl):
    """grpcurl with the token of somebody who has just signed up."""
    answer = grpcurl.call(f"{AUTH}/SignUp", {"email": new_email(), "password": PASSWORD})
    grpcurl.token = answer["credentials"]["accessToken"]
    return grpcurl


def test_reflection_lists_every_service_without_a_token(grpcurl):
    services = grpcurl.text("list").split()
    assert {AUTH, TASK, CHAT, "grpc.health.v1.Health"} <= set(services)


def test_describe_shows_a_method_with_its_comments(grpcurl):
    shown = grpcurl.text("describe", f"{TASK}.CompleteTask")
    assert "Marks a task as completed" in shown
    assert "rpc CompleteTask ( .errand.task.v1.CompleteTaskRequest ) returns ( .errand.task.v1.Task )" in shown


def test_describe_shows_a_message_with_its_fields(grpcurl):
    shown = grpcurl.text("describe", "errand.task.v1.Task")
    assert "string title = 2" in shown


def test_the_suite_and_each_service_are_healthy(grpcurl):
    for service in ["", AUTH, TASK, CHAT, "liveness", "readiness"]:
        assert grpcurl.call("grpc.health.v1.Health/Check", {"service": service}) == {"status": "SERVING"}, service


def test_a_service_that_does_not_exist_has_no_health(grpcurl):
    with pytest.raises(Refused) as refused:
        grpcurl.call("grpc.health.v1.Health/Check", {"service": "errand.cake.v1.CakeService"})
    assert refused.value.code == 5


def test_a_whole_day_from_signing_up_to_logging_out(grpcurl):
    email = new_email()
    signed_up = grpcurl.call(f"{AUTH}/SignUp", {"email": email, "password": PASSWORD, "timeZone": "Europe/Berlin"})
    assert signed_up["user"]["timeZone"] == "Europe/Berlin"

    # A second session, from which everything else is done.
    session = grpcurl.call(f"{AUTH}/LogIn", {"email": email.upper(), "password": PASSWORD})
    assert session["user"]["id"] == signed_up["user"]["id"]
    grpcurl.token = session["credentials"]["accessToken"]
    assert grpcurl.call(f"{AUTH}/GetMe")["email"] == email

    task = grpcurl.call(f"{TASK}/CreateTask", {"task": {"title": "Buy milk", "priority": "PRIORITY_HIGH"}})
    new_title = {"id": task["id"], "etag": task["etag"], "title": "Buy oat milk"}
    # This grpcurl takes a mask as a message, not as the text that JSON usually has for it.
    renamed = grpcurl.call(f"{TASK}/UpdateTask", {"task": new_title, "updateMask": {"paths": ["title"]}})
    assert (renamed["title"], renamed["priority"]) == ("Buy oat milk", "PRIORITY_HIGH")
    assert grpcurl.call(f"{TASK}/CompleteTask", {"taskId": task["id"]})["completed"] is True

    answer = grpcurl.call(f"{CHAT}/SendMessage", {"content": "add call the plumber tomorrow"})
    assert [call["name"] for call in answer["toolCalls"]] == ["add_tasks"]
    open_tasks = grpcurl.call(f"{TASK}/ListTasks", {"completed": False})["tasks"]
    assert [task["title"].lower() for task in open_tasks] == ["call the plumber"]
    said = grpcurl.call(f"{CHAT}/ListMessages", {"conversationId": answer["conversationId"]})["messages"]
    assert [message["role"] for message in said] == ["ROLE_USER", "ROLE_ASSISTANT"]
    assert said[1]["content"] == answer["response"]

    refresh_token = session["credentials"]["refreshToken"]
    renewed = grpcurl.call(f"{AUTH}/RefreshToken", {"refreshToken": refresh_token})["credentials"]
    assert renewed["refreshToken"] != refresh_token
    grpcurl.token = renewed["accessToken"]
    grpcurl.call(f"{AUTH}/LogOut")
    with pytest.raises(Refused) as refused:
        grpcurl.call(f"{AUTH}/RefreshToken", {"refreshToken": renewed["refreshToken"]})
    assert refused.value.code == 16


def test_pages_walk_through_every_task_once(person):
    titles = [f"Task {number}" for number in range(7)]
    for title in titles:
        person.call(f"{TASK}/CreateTask", {"task": {"title": title}})
    seen, page = [], {}
    while True:
        page = person.call(f"{TASK}/ListTasks", {"pageSize": 3, "pageToken": page.get("nextPageToken", "")})
        seen += [task["title"] for task in page.get("tasks", [])]
        if "nextPageToken" not in page:
            break
    assert seen == titles


def test_a_stale_etag_is_refused_and_changes_nothing(person):
    first = person.call(f"{TASK}/CreateTask", {"task": {"title": "Water the plants"}})
    second = person.call(f"{TASK}/UpdateTask", {"task": {"id": first["id"], "title": "Water all plants"}})
    new_title = {"id": first["id"], "etag": first["etag"], "title": "Sell the plants"}
    stale = {"task": new_title, "updateMask": {"paths": ["title"]}}
    with pytest.raises(Refused) as refused:
        person.call(f"{TASK}/UpdateTask", stale)
    assert (refused.value.code, refused.value.reason) == (10, "ETAG_MISMATCH")
    assert person.call(f"{TASK}/GetTask", {"taskId": first["id"]}) == second


def test_a_request_id_makes_a_repeated_create_harmless(person):
    request = {"task": {"title": "Pay rent"}, "requestId": "rent-2026-11"}
    assert person.call(f"{TASK}/CreateTask", request) == person.call(f"{TASK}/CreateTask", request)
    assert len(person.call(f"{TASK}/ListTasks")["tasks"]) == 1
    with pytest.raises(Refused) as refused:
        person.call(f"{TASK}/CreateTask", {"task": {"title": "Pay more rent"}, "requestId": "rent-2026-11"})
    assert (refused.value.code, refused.value.reason) == (3, "IDEMPOTENCY_KEY_REUSED")


def test_validate_only_checks_and_changes_nothing(person):
    person.call(f"{TASK}/CreateTask", {"task": {"title": "Only a thought"}, "validateOnly": True})
    assert "tasks" not in person.call(f"{TASK}/ListTasks")


def test_an_error_says_which_field_is_wrong_and_why(person):
    with pytest.raises(Refused) as refused:
        person.call(f"{TASK}/CreateTask", {"task": {"title": "x" * 201}})
    assert (refused.value.code, refused.value.reason) == (3, "INVALID_FIELDS")
    (violation,) = refused.value.details["google.rpc.BadRequest"]["fieldViolations"]
    assert (violation["field"], violation["reason"]) == ("task.title", "TOO_LONG")
    assert refused.value.details["google.rpc.ErrorInfo"]["domain"] == "errand"
    assert refused.value.details["google.rpc.RequestInfo"]["requestId"]


def test_without_a_token_nothing_but_the_public_methods_answers(grpcurl):
    with pytest.raises(Refused) as refused:
        grpcurl.call(f"{TASK}/ListTasks")
    assert (refused.value.code, refused.value.reason) == (16, "TOKEN_MISSING")
    assert grpcurl.call(f"{AUTH}/GetJwks")["keys"][0]["kty"] == "EC"


def test_another_persons_task_does_not_exist(server, person):
    task = person.call(f"{TASK}/CreateTask", {"task": {"title": "Private"}})
    stranger = Grpcurl(server)
    answer = stranger.call(f"{AUTH}/SignUp", {"email": new_email(), "password": PASSWORD})
    stranger.token = answer["credentials"]["accessToken"]
    with pytest.raises(Refused) as refused:
        stranger.call(f"{TASK}/GetTask", {"taskId": task["id"]})
    assert (refused.value.code, refused.value.reason) == (5, "TASK_NOT_FOUND")


def test_an_operator_watches_streams_a_chat_and_takes_it_back(person):
    cursor = person.call(f"{TASK}/ListTasks")["watchCursor"]
    events = person.stream(f"{CHAT}/StreamMessage", {"content": "add buy milk"}, 10)
    assert "started" in events[0] and "replied" in events[-1]
    seen = person.stream(f"{TASK}/WatchTasks", {"cursor": cursor}, 1)
    assert [change["change"]["after"]["title"] for change in seen] == ["buy milk"]
    person.call(f"{TASK}/UndoChanges", {"turnId": events[0]["turnId"]})
    assert "tasks" not in person.call(f"{TASK}/ListTasks")
