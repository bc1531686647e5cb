"""What both doors are asked: scenarios, each a list of calls by somebody with an account of their own."""

import time

import grpc
from conftest import PASSWORD
from envoy_caller import AUTH, BINARY, CHAT, TASK, TEXT
from envoy_edges import ORIGIN
from test_grpc_web import frame

NOBODY = "01890000-0000-7000-8000-000000000000"
LONG = "x" * 201
KEY = "the-key-of-one-write"
TURN = "01890000-0000-7000-8000-000000000001"


def tokens(caller, edges):
    """Access tokens that are none: name and token."""
    good, now, forge = caller.token, int(time.time()), edges.forge
    return [
        ("missing", None),
        ("malformed", "x.y.z"),
        ("no token at all", "hello"),
        ("expired", forge.expired(good)),
        ("foreign", forge.token(good, key=forge.foreign())),
        ("of an unknown key", forge.token(good, key=forge.foreign(), kid="unknown")),
        ("for another audience", forge.token(good, aud="others")),
        ("by another issuer", forge.token(good, iss="others")),
        ("not valid yet", forge.token(good, nbf=now + 60)),
        ("without an end", forge.token(good, exp=None)),
        ("of another type", forge.token(good, header={"typ": "JWT"})),
        ("without a signature", good.rpartition(".")[0] + "."),
        ("unsigned", forge.token(good, header={"alg": "none"}).rpartition(".")[0] + "."),
        ("without the scope", forge.token(good, scope="chat")),
        ("a refresh token", caller.refresh_token),
    ]


def jwt(caller, edges):
    """Who comes with which token, in each face."""
    for name, token in tokens(caller, edges):
        caller.token = token
        yield f"{name}, gRPC", caller.native(f"{TASK}/ListTasks")
        yield f"{name}, gRPC-Web", caller.web(f"{TASK}/ListTasks")
        yield f"{name}, gRPC-Web text", caller.web(f"{TASK}/ListTasks", content_type=TEXT)
        yield f"{name}, REST", caller.plain("GET", "/v1/tasks")
        yield f"{name}, a public call", caller.web(f"{AUTH}/GetJwks")
    caller.token = None
    good = caller.said["sign up"]["credentials"]["accessToken"]
    for name, header in [
        ("in small letters", f"bearer {good}"),
        ("of another scheme", f"Basic {good}"),
        ("with two spaces", f"Bearer  {good}"),
        ("with nothing behind", "Bearer "),
        ("well", f"Bearer {good}"),
    ]:
        yield f"said {name}, gRPC-Web", caller.web(f"{TASK}/ListTasks", authorization=header)
        yield f"said {name}, REST", caller.plain("GET", "/v1/tasks", headers={"authorization": header})
    yield "in the query", caller.plain("GET", f"/v1/tasks?access_token={good}")


def faces(caller, _edges):
    """The same calls over gRPC and gRPC-Web, binary and text."""
    for name, call in [
        ("gRPC", caller.native),
        ("gRPC-Web", caller.web),
        ("gRPC-Web text", lambda path, fields=None: caller.web(path, fields, TEXT)),
        ("gRPC-Web without +proto", lambda path, fields=None: caller.web(path, fields, "application/grpc-web")),
    ]:
        made = call(f"{TASK}/CreateTask", {"task": {"title": f"Buy milk 🥛 by {name}", "labels": ["home"]}})
        yield f"a write, {name}", made
        task = made.body[0]
        yield f"a read, {name}", call(f"{TASK}/GetTask", {"taskId": task["id"]})
        yield f"a list, {name}", call(f"{TASK}/ListTasks", {"pageSize": 1})
        yield f"nothing there, {name}", call(f"{TASK}/GetTask", {"taskId": NOBODY})
        yield f"a rule broken, {name}", call(f"{TASK}/CreateTask", {"task": {"title": LONG, "labels": ["a", "a"]}})
        stale = {"task": {"id": task["id"], "etag": "0", "title": "x"}, "updateMask": "title"}
        yield f"a stale version, {name}", call(f"{TASK}/UpdateTask", stale)
        yield f"a page token that is none, {name}", call(f"{TASK}/ListTasks", {"pageToken": "x"})
        yield f"what only peers may, {name}", call(f"{TASK}/EraseMe")
        yield f"the account, {name}", call(f"{AUTH}/GetMe")
        yield f"a message, {name}", call(f"{CHAT}/SendMessage", {"content": "add buy stamps"})
        yield f"an empty message, {name}", call(f"{CHAT}/SendMessage")
        yield f"the keys, {name}", call(f"{AUTH}/GetJwks")


def protocol(caller, _edges):
    """What is no legal call."""
    web = lambda **more: caller.web(f"{TASK}/ListTasks", **more)
    yield "a method that is unknown, gRPC", caller.native(f"{TASK}/Nothing")
    yield "a service that is unknown, gRPC", caller.native("errand.task.v1.Nothing/ListTasks")
    yield "a timeout that has passed, gRPC-Web", web(grpc_timeout="1n")
    yield "a timeout that is none, gRPC-Web", web(grpc_timeout="soon")
    yield "a timeout that is kept, gRPC-Web", web(grpc_timeout="10S")
    yield "compression, gRPC", caller.native(f"{TASK}/ListTasks", compression=grpc.Compression.Gzip)
    yield "no message, gRPC-Web", web(body=b"")
    yield "two messages, gRPC-Web", web(body=frame(b"") * 2)
    yield "half a message, gRPC-Web", web(body=frame(b"xx")[:-1])
    yield "no protobuf, gRPC-Web", web(body=frame(b"\xff\xff"))
    yield "a length of 5 MiB, gRPC-Web", web(body=b"\0\0\x50\0\0" + bytes(100))
    yield "5 MiB, gRPC-Web", web(body=frame(bytes(5 << 20)))
    yield "no base64, gRPC-Web text", caller.plain(
        "POST", f"/{TASK}/ListTasks", "????", {"content-type": TEXT, "accept": TEXT}
    )
    yield "text that is answered in binary, gRPC-Web", caller.web(f"{TASK}/ListTasks", content_type=TEXT, accept=BINARY)
    for spelling in [f"//{TASK}/ListTasks", f"/{TASK}//ListTasks", f"/{TASK}/listtasks", f"/x/../{TASK}/ListTasks"]:
        yield f"{spelling}, gRPC-Web", caller.web(spelling[1:], body=frame(b""))
    yield "GET of a method, gRPC-Web", caller.plain("GET", f"/{TASK}/ListTasks", headers={"content-type": BINARY})
    yield "headers of 20 KiB, gRPC-Web", web(x_large="x" * 20_000)
    yield "health", caller.native("grpc.health.v1.Health/Check")


def streams(caller, _edges):
    """Streams, as far as both have them."""
    cursor = caller.native(f"{TASK}/ListTasks").body[0]["watchCursor"]
    caller.native(f"{TASK}/CreateTask", {"task": {"title": "Seen by the watcher"}})
    yield "a watch, gRPC", caller.native(f"{TASK}/WatchTasks", {"cursor": cursor}, enough=1)
    yield "a watch that a deadline ends, gRPC-Web", caller.web(f"{TASK}/WatchTasks", grpc_timeout="1S")
    yield "a cursor that is none, gRPC-Web", caller.web(f"{TASK}/WatchTasks", {"cursor": "x"})
    yield "a turn, gRPC", caller.native(f"{CHAT}/StreamMessage", {"content": "add call mum"})
    yield "a turn, gRPC-Web", caller.web(f"{CHAT}/StreamMessage", {"content": "add call dad"})
    yield "a turn, gRPC-Web text", caller.web(f"{CHAT}/StreamMessage", {"content": "add call the bank"}, TEXT)
    accept = {"accept": "text/event-stream"}
    yield "a turn, REST", caller.plain("POST", "/v1/messages:stream", {"content": "hello"}, accept)
    yield "a watch of nothing, REST", caller.plain("GET", "/v1/tasks:watch?cursor=x", headers=accept)
    yield "a turn that is unknown, REST", caller.plain("POST", f"/v1/turns/{NOBODY}:resume", {}, accept)


def cors(caller, _edges):
    """Who may call from a web page."""
    wanted = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    for origin in [ORIGIN, "http://evil.example", "null", f"{ORIGIN}.evil.example", f"{ORIGIN}, {ORIGIN}"]:
        for path in [f"/{TASK}/ListTasks", "/v1/tasks", "/api/auth/login"]:
            headers = wanted | {"origin": origin, "authorization": None}
            yield f"a preflight from {origin} to {path}", caller.plain("OPTIONS", path, headers=headers)
        yield f"gRPC-Web from {origin}", caller.web(f"{TASK}/ListTasks", origin=origin)
        yield f"gRPC-Web without a token from {origin}", caller.web(f"{TASK}/ListTasks", origin=origin, authorization=None)
        yield f"gRPC-Web refused from {origin}", caller.web(f"{TASK}/GetTask", {"taskId": NOBODY}, origin=origin)
        yield f"REST from {origin}", caller.plain("GET", "/v1/tasks", headers={"origin": origin})
        yield f"REST refused from {origin}", caller.plain("GET", f"/v1/tasks/{NOBODY}", headers={"origin": origin})
        absent = {"origin": origin, "authorization": None}
        yield f"REST without a token from {origin}", caller.plain("GET", "/v1/tasks", headers=absent)


def headers(caller, _edges):
    """What of a request's headers goes in, and of an answer's comes out."""
    made = caller.native(f"{TASK}/CreateTask", {"task": {"title": "as the assistant"}}, metadata=[("x-errand-turn", TURN)])
    yield "a turn that is claimed, gRPC", made
    yield "a turn that is claimed, gRPC-Web", caller.web(
        f"{TASK}/CreateTask", {"task": {"title": "as the assistant"}}, X_Errand_Turn=TURN
    )
    yield "a turn that is claimed, REST", caller.plain(
        "POST", "/v1/tasks", {"title": "as the assistant"}, {"X-Errand-Turn": TURN}
    )
    yield "who did it", caller.native(f"{TASK}/ListChanges")
    for name, value in [("is told", "mine-1"), ("is long", "x" * 129), ("is no id", "<script>"), ("is empty", "")]:
        kept = caller.web(f"{TASK}/ListTasks", x_request_id=value)
        yield f"a request id that {name}, gRPC-Web", kept
        yield f"a request id that {name}, in an error", caller.web(f"{TASK}/GetTask", x_request_id=value)
        yield f"a request id that {name}, REST", caller.plain("GET", "/v1/tasks", headers={"x-request-id": value})
    for name in ["x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms", "x-envoy-expected-rq-timeout-ms", "cookie", "forwarded"]:
        yield f"{name}, gRPC-Web", caller.web(f"{TASK}/ListTasks", **{name: "1"})


def rest(caller, _edges):
    """The core of REST: every path once, with what JSON it takes and gives."""
    call = caller.plain
    first = call("POST", "/v1/tasks", {"title": "Buy milk", "dueTime": "2030-01-02T03:04:05Z", "priority": "PRIORITY_HIGH"})
    yield "POST /v1/tasks", first
    task = f"/v1/tasks/{first.body['id']}"
    yield "POST /v1/tasks, in snake case", call("POST", "/v1/tasks", {"title": "x", "due_time": "2030-01-02T03:04:05.678901Z"})
    yield "GET /v1/tasks/{id}", call("GET", task)
    yield "GET /v1/tasks", call("GET", "/v1/tasks?pageSize=1&orderBy=create_time%20desc")
    yield "GET /v1/tasks, in snake case", call("GET", "/v1/tasks?page_size=1&completed=false&query=buy+milk")
    yield "PATCH /v1/tasks/{id}", call("PATCH", f"{task}?updateMask=title,labels", {"title": "Buy oats", "labels": ["é"]})
    yield "PATCH /v1/tasks/{id} without a mask", call("PATCH", task, {"title": "Buy more"})
    yield "POST :complete", call("POST", f"{task}:complete", {})
    yield "POST :reopen", call("POST", f"{task}:reopen", {})
    yield "DELETE /v1/tasks/{id}", call("DELETE", task)
    yield "POST :undelete", call("POST", f"{task}:undelete", {})
    batch = {"requests": [{"task": {"title": "one"}}, {"task": {"title": "two"}}]}
    several = call("POST", "/v1/tasks:batchCreate", batch)
    yield "POST :batchCreate", several
    ids = [made["id"] for made in several.body.get("tasks", [])] if isinstance(several.body, dict) else []
    several = {"requests": [{"taskId": id} for id in ids]}
    yield "POST :batchComplete", call("POST", "/v1/tasks:batchComplete", several)
    changed = {"requests": [{"task": {"id": id, "title": "changed"}, "updateMask": "title"} for id in ids]}
    yield "POST :batchUpdate", call("POST", "/v1/tasks:batchUpdate", changed)
    yield "POST :batchDelete", call("POST", "/v1/tasks:batchDelete", several)
    yield "GET /v1/changes", call("GET", "/v1/changes?pageSize=3")
    yield "POST /v1/changes:undo", call("POST", "/v1/changes:undo", {"turnId": NOBODY})
    sent = call("POST", "/v1/messages:send", {"content": "add water the plants"})
    yield "POST /v1/messages:send", sent
    said = sent.body if isinstance(sent.body, dict) else {}
    conversation = f"/v1/conversations/{said.get('conversationId')}"
    yield "POST /v1/changes:undo of a turn, tried", call(
        "POST", "/v1/changes:undo", {"turnId": said.get("turnId"), "validateOnly": True}
    )
    yield "GET /v1/conversations/{id}/messages", call("GET", f"{conversation}/messages")
    yield "GET /v1/conversations/{id}", call("GET", conversation)
    yield "GET /v1/conversations", call("GET", "/v1/conversations")
    yield "PATCH /v1/conversations/{id}", call("PATCH", f"{conversation}?updateMask=title", {"title": "Plants"})
    yield "POST /v1/conversations", call("POST", "/v1/conversations", {"title": "Empty"})
    yield "POST :cancel", call("POST", f"/v1/turns/{said.get('turnId')}:cancel", {})
    yield "DELETE /v1/conversations/{id}", call("DELETE", conversation)
    yield "GET /v1/me", call("GET", "/v1/me")
    yield "PATCH /v1/me", call("PATCH", "/v1/me", {"timeZone": "Europe/Paris"})
    yield "GET /v1/sessions", call("GET", "/v1/sessions")
    yield "GET /.well-known/jwks.json", call("GET", "/.well-known/jwks.json", headers={"authorization": None})
    yield "POST /v1/auth/login", call("POST", "/v1/auth/login", {"email": caller.email, "password": PASSWORD})
    yield "POST /v1/auth/refresh", call("POST", "/v1/auth/refresh", {"refreshToken": caller.refresh_token})
    yield "POST /v1/auth/logout", call("POST", "/v1/auth/logout", {})


def json_mapping(caller, _edges):
    """JSON that is not what the contracts say."""
    call = caller.plain
    typed = {"content-type": "application/json"}
    # First what both take, so that the versions of what is made are the same.
    yield "null", call("POST", "/v1/tasks", {"title": "x", "dueTime": None})
    for name, body in [
        ("an unknown field", {"title": "x", "nothing": 1}),
        ("an unknown field inside", {"title": "x", "dueTime": {"seconds": 1}}),
        ("a wrong type", {"title": 7}),
        ("an unknown word", {"title": "x", "priority": "PRIORITY_HUGE"}),
        ("a time that is none", {"title": "x", "dueTime": "soon"}),
    ]:
        yield name, call("POST", "/v1/tasks", body)
    yield "a field twice", call("POST", "/v1/tasks", '{"title":"a","title":"b"}', typed)
    yield "no JSON", call("POST", "/v1/tasks", "{", typed)
    yield "a list", call("POST", "/v1/tasks", "[]", typed)
    yield "no body", call("POST", "/v1/tasks", "", typed)
    yield "another content type", call("POST", "/v1/tasks", '{"title":"x"}', {"content-type": "text/plain"})
    yield "an unknown parameter", call("GET", "/v1/tasks?nothing=1")
    yield "a parameter of a wrong type", call("GET", "/v1/tasks?pageSize=many")
    yield "a parameter twice", call("GET", "/v1/tasks?pageSize=1&pageSize=2")
    yield "a parameter where the body is all", call("POST", "/v1/messages:send?content=x", {"content": "hello"})
    yield "an id with a slash in it", call("GET", "/v1/tasks/a%2Fb")


def words_of_http(caller, _edges):
    """Headers and verbs that HTTP has a meaning for."""
    call = caller.plain
    made = call("POST", "/v1/tasks", {"title": "once"}, {"idempotency-key": KEY})
    yield "Idempotency-Key", made
    yield "Idempotency-Key, again", call("POST", "/v1/tasks", {"title": "once"}, {"idempotency-key": KEY})
    task = f"/v1/tasks/{made.body['id']}"
    yield "If-Match of another version", call("PATCH", task, {"title": "x"}, {"if-match": '"0"'})
    yield "If-None-Match", call("GET", task, headers={"if-none-match": '"1"'})
    yield "problem details", call("GET", f"/v1/tasks/{NOBODY}", headers={"accept": "application/problem+json"})
    yield "PUT", call("PUT", "/v1/tasks", {"title": "x"})
    yield "PUT without a token", call("PUT", "/v1/tasks", {"title": "x"}, {"authorization": None})
    yield "a path that is unknown", call("GET", "/v2/tasks")
    yield "a path that is unknown, without a token", call("GET", "/v1/nothing", headers={"authorization": None})
    yield "a slash at the end", call("GET", "/v1/tasks/")
    yield "/healthz", call("GET", "/healthz", headers={"authorization": None})
    yield "HEAD /healthz", call("HEAD", "/healthz", headers={"authorization": None})


def beyond(caller, _edges):
    """What Envoy has not, and the gateway role behind it answers."""
    call = caller.plain
    task = f"/v1/tasks/{call('POST', '/v1/tasks', {'title': 'once'}).body['id']}"
    yield "HEAD", call("HEAD", task)
    yield "/openapi.json", call("GET", "/openapi.json", headers={"authorization": None})
    yield "/docs", call("GET", "/docs", headers={"authorization": None})
    yield "the alias for logging in", call("POST", "/api/auth/login", {"email": caller.email, "password": PASSWORD})
    yield "the alias for logging in, refused", call("POST", "/api/auth/login", {"email": caller.email, "password": "wrong"})
    user = caller.said["sign up"]["user"]["id"]
    yield "the alias for a message", call("POST", f"/api/{user}/chat", {"message": "hello"})
    yield "the alias for somebody else", call("POST", f"/api/{NOBODY}/chat", {"message": "hello"})
    yield "Connect", call("POST", f"/{TASK}/ListTasks", {})
    yield "Connect, refused", call("POST", f"/{TASK}/GetTask", {"taskId": NOBODY})
    yield "Connect without a token", call("POST", f"/{TASK}/ListTasks", {}, {"authorization": None})
    yield "Connect by GET", call("GET", f"/{TASK}/ListTasks?encoding=json&message=%7B%7D&connect=v1")


def approvals(caller, plain_turn):
    """A question of the assistant, answered in every wrong way and then well."""
    several = [{"task": {"title": f"Not for long {number}"}} for number in range(5)]
    caller.plain("POST", "/v1/tasks:batchCreate", {"requests": several})
    answer = {"hash": "0" * 64, "decision": "APPROVAL_DECISION_APPROVE"}
    yield "APPROVAL_NOT_FOUND", caller.plain("POST", f"/v1/turns/{plain_turn}:approve", answer)
    asked = caller.plain("POST", "/v1/messages:send", {"content": "delete all my tasks"})
    yield "a question", asked
    turn = f"/v1/turns/{asked.body['turnId']}"
    yield "APPROVAL_MISMATCH", caller.plain("POST", f"{turn}:approve", answer)
    answer["hash"] = asked.body["approvalRequested"]["hash"]
    approved = caller.plain("POST", f"{turn}:approve", answer)
    yield "POST :approve", approved
    yield "APPROVAL_ENDED", caller.plain("POST", f"{turn}:approve", answer)
    yield "POST :undo", caller.plain("POST", f"/v1/turns/{approved.body['turnId']}:undo", {})


def reasons(caller, edges):
    """The errors that only the roles know, with the statuses that they have over REST."""
    call, public = caller.plain, {"authorization": None}
    who = {"email": caller.email, "password": PASSWORD}
    yield "EMAIL_TAKEN", call("POST", "/v1/auth/signup", who, public)
    yield "INVALID_FIELDS", call("POST", "/v1/auth/signup", who | {"email": "nobody"}, public)
    yield "CREDENTIALS_INVALID", call("POST", "/v1/auth/login", who | {"password": "wrong horse"}, public)
    yield "REFRESH_TOKEN_INVALID", call("POST", "/v1/auth/refresh", {"refreshToken": "x.y"}, public)
    yield "SESSION_NOT_FOUND", call("DELETE", f"/v1/sessions/{NOBODY}")
    yield "PAGE_TOKEN_INVALID", call("GET", "/v1/tasks?pageToken=x")
    made = call("POST", "/v1/tasks", {"title": "once"}).body
    task = f"/v1/tasks/{made['id']}"
    yield "TASK_NOT_FOUND", call("GET", f"/v1/tasks/{NOBODY}")
    yield "TASK_NOT_DELETED", call("POST", f"{task}:undelete", {})
    yield "ETAG_MISMATCH", call("PATCH", task, {"title": "x", "etag": "0"})
    once = {"requestId": KEY, "etag": made["etag"]}
    yield "a write with a request_id", call("POST", f"{task}:complete", once)
    yield "the same again", call("POST", f"{task}:complete", once)
    yield "IDEMPOTENCY_KEY_REUSED", call("POST", f"{task}:reopen", {"requestId": KEY})
    call("DELETE", task)
    yield "TASK_DELETED", call("PATCH", task, {"title": "x"})
    yield "CHANGES_NOT_FOUND", call("POST", "/v1/changes:undo", {"turnId": NOBODY})
    yield "CONVERSATION_NOT_FOUND", call("GET", f"/v1/conversations/{NOBODY}")
    yield "TURN_NOT_FOUND", call("POST", f"/v1/turns/{NOBODY}:cancel", {})
    turn = call("POST", "/v1/messages:send", {"content": "hello"}).body["turnId"]
    yield "TURN_ENDED", call("POST", f"/v1/turns/{turn}:cancel", {})
    yield from approvals(caller, turn)
    yield "DEADLINE_EXCEEDED", call("GET", "/v1/tasks", headers={"grpc-timeout": "1n"})
    yield "TIMEOUT_INVALID", call("GET", "/v1/tasks", headers={"grpc-timeout": "soon"})
    edges.users("disable", caller.email)
    yield "ACCOUNT_DISABLED", call("POST", "/v1/auth/login", who, public)
    edges.users("enable", caller.email)
    yield "DeleteMe", call("POST", "/v1/me:delete", {"password": PASSWORD})
    yield "ACCOUNT_DELETED", call("GET", "/v1/me")
    for _ in range(20):
        last = call("POST", "/v1/auth/login", who | {"password": "wrong horse"}, public)
    yield "TOO_MANY_ATTEMPTS", last


def away(caller, edges):
    """One of the roles is not there."""
    edges.end("chat")
    yield "REST", caller.plain("POST", "/v1/messages:send", {"content": "hello"})
    yield "gRPC", caller.native(f"{CHAT}/SendMessage", {"content": "hello"})
    yield "gRPC-Web", caller.web(f"{CHAT}/SendMessage", {"content": "hello"})
    yield "gRPC-Web text", caller.web(f"{CHAT}/SendMessage", {"content": "hello"}, TEXT)
    yield "a role that is there", caller.web(f"{TASK}/ListTasks")


# The last one takes a role away.
SCENARIOS = [jwt, faces, protocol, streams, cors, headers, rest, json_mapping, words_of_http, beyond, reasons, away]
