"""R-132 and R-034: what is secret is in no log, however much is logged, and on the disk only where it belongs."""

import base64
import json
import pathlib
import urllib.request

import grpc
import pytest
from client import AUTH, CHAT, TASK, Refused, new_id, refusal


class Canaries:
    """Words that stand nowhere else, so that each can be found again."""

    def __init__(self):
        self.words = {}

    def plant(self, what):
        return self.keep(what, f"canary-{what}-{new_id()[:8]}")

    def keep(self, what, word):
        assert len(word) >= 16, word
        self.words[f"{what} {len(self.words)}"] = word
        return word

    def seen_in(self, text):
        """Which of them stand in a text, also as Base64 or in hexadecimal."""
        found = set()
        for what, word in self.words.items():
            raw = word.encode()
            forms = {word, raw.hex(), json.dumps(word)[1:-1]}
            # The three ways a word can lie in Base64, without the characters that its neighbours change.
            forms |= {base64.b64encode(b"." * shift + raw)[4:-4].decode() for shift in (0, 1, 2)}
            if any(form in text for form in forms):
                found.add(what)
        return found


def attempt(call, *arguments, **fields):
    """A call that may be refused; answers what the refusal says."""
    try:
        call(*arguments, **fields)
        return ""
    except Refused as refused:
        return str(refused)


def live(server, client_of, canaries):
    """Success and error paths of everything, with a canary in each place; answers what the errors said."""
    said = []
    ann = client_of(server)
    ann.email = canaries.plant("email").replace("canary-email", "canary.email") + "@example.com"
    canaries.keep("email", ann.email)
    password = canaries.plant("password")
    answer = ann.sign_up(password=password, display_name=canaries.plant("display-name"))

    def keep(credentials):
        canaries.keep("access token", credentials.access_token)
        # Its last part alone is what makes it a secret.
        canaries.keep("signature", credentials.access_token.rsplit(".", 1)[1])
        canaries.keep("refresh token", credentials.refresh_token)

    keep(answer.credentials)
    wrong = {"email": ann.email, "password": canaries.plant("wrong-password")}
    said.append(attempt(ann.call, f"{AUTH}/LogIn", **wrong))
    said.append(attempt(ann.call, f"{AUTH}/LogIn", email=canaries.plant("nobody") + "@example.com", password="x" * 12))
    said.append(attempt(ann.call, f"{AUTH}/SignUp", email=ann.email, password=password))
    said.append(attempt(ann.call, f"{AUTH}/SignUp", email=canaries.plant("no-address"), password="short"))
    said.append(attempt(ann.call, f"{AUTH}/RefreshToken", refresh_token=canaries.plant("not-a-refresh-token")))
    keep(ann.refresh().credentials)
    new_password = canaries.plant("new-password")
    change = {"current_password": canaries.plant("wrong-current"), "new_password": new_password}
    said.append(attempt(ann.call, f"{AUTH}/ChangePassword", **change))
    ann.call(f"{AUTH}/ChangePassword", **(change | {"current_password": password}))
    keep(ann._use(ann.call(f"{AUTH}/LogIn", email=ann.email, password=new_password)).credentials)

    # Tokens that are none.
    for token in [canaries.plant("no-token"), ann.token[:-4] + "AAAA", ann.token.upper(), f"{ann.token}.{ann.token}"]:
        stranger = client_of(server, token=canaries.keep("bad token", token))
        said.append(attempt(stranger.create, "x"))

    texts = {"description": canaries.plant("description"), "labels": [canaries.plant("label")]}
    task = ann.create(canaries.plant("title"), **texts)
    said.append(attempt(ann.create, canaries.plant("too-long") * 20))
    said.append(attempt(ann.create, canaries.plant("with-control") + "\n"))
    said.append(attempt(ann.get, canaries.plant("no-id")))
    said.append(attempt(ann.call, f"{TASK}/ListTasks", page_token=canaries.plant("page-token")))
    ann.call(f"{TASK}/ListTasks", query=canaries.plant("query"))
    request_id = canaries.plant("request-id")
    ann.create("once", request_id=request_id)
    said.append(attempt(ann.create, "not again", request_id=request_id))
    said.append(attempt(ann.call, f"{TASK}/CompleteTask", task_id=task.id, etag=canaries.plant("etag")))

    for words in ['add "{}"', "{}", "delete {}"]:
        attempt(ann.call, f"{CHAT}/SendMessage", content=words.format(canaries.plant("chat")))
    said.append(attempt(ann.call, f"{CHAT}/SendMessage", content=canaries.plant("chat-control") + "\0"))
    said.append(attempt(ann.call, f"{CHAT}/SendMessage", content=canaries.plant("long-chat") * 1000))

    # Bytes that are no message, in a field that should be text; a header and a query of one's own.
    broken = b"\n\xff" + canaries.plant("broken").encode()
    stub = ann.channel.unary_unary(f"/{TASK}/CreateTask")
    with pytest.raises(grpc.RpcError) as error:
        stub(broken, metadata=ann.metadata(), timeout=10)
    said.append(error.value.details())
    headers = {"x-anything": canaries.plant("header"), "authorization": f"Bearer {ann.token}"}
    for path in [f"/none?token={canaries.plant('query-token')}", f"/{TASK}/CreateTask?x={canaries.plant('query')}"]:
        request = urllib.request.Request(f"http://{server.address}{path}", data=b"{}", headers=headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        said.append(refused.value.read().decode(errors="replace"))
    ann.call(f"{AUTH}/LogOut")
    said.append(str(refusal(ann.refresh)))
    return said


@pytest.mark.parametrize("level", ["trace", "debug", "info"])
def test_r_132_nothing_secret_is_logged_at_any_level(make_server, client_of, level):
    server = make_server(arguments=["--log", level]).start()
    canaries = Canaries()
    said = live(server, client_of, canaries)
    assert len(canaries.words) >= 30
    for name in ("environ", "cmdline"):
        process = pathlib.Path(f"/proc/{server.pid}/{name}").read_text(errors="replace")
        assert canaries.seen_in(process) == set(), name
    server.stop()
    log = server.log()
    # The most talkative is the library of the protocol.
    assert ('"target":"h2' in log) == (level != "info"), "the level was not what this test needs"
    lines = [line for line in log.splitlines() if canaries.seen_in(line)]
    assert canaries.seen_in(log) == set(), "\n".join(lines[:20])
    # An error names fields and rules, and never gives back a password or a token.
    secret = {what for what in canaries.seen_in("\n".join(said)) if "password" in what or "token" in what}
    assert secret == set(), said


def test_r_034_passwords_and_tokens_are_in_no_file_as_they_are(make_server, client_of):
    server = make_server().start()
    canaries = Canaries()
    live(server, client_of, canaries)
    server.stop()
    kept = {what for what in canaries.words if "password" in what or "token" in what or "signature" in what}
    for file in server.data.iterdir():
        assert canaries.seen_in(file.read_bytes().decode("latin-1")) & kept == set(), file
