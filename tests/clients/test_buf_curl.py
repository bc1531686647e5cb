"""`buf curl`: Connect, which is its default, gRPC and gRPC-Web, with the schema from the server's reflection."""

import base64
import json
import pathlib
import subprocess

import pytest

from conftest import PASSWORD, new_email, new_place

# The schema can come from the contracts, too. Without TLS a client of gRPC has to know that the server speaks HTTP/2.
CONTRACTS = ["--schema", str(pathlib.Path(__file__).parents[2] / "proto")]
PROTOCOLS = {
    "its defaults": [],
    "connect": ["--protocol", "connect", "--http2-prior-knowledge"],
    "connect, schema from the contracts": CONTRACTS,
    "grpc": ["--protocol", "grpc", "--http2-prior-knowledge"],
    "grpc-web": ["--protocol", "grpcweb", "--http2-prior-knowledge"],
}


def curl(server, options, method, message, *headers):
    command = ["buf", "curl", *options, "--data", json.dumps(message), f"http://{server.address}/{method}"]
    for header in headers:
        command += ["--header", header]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("options", PROTOCOLS.values(), ids=PROTOCOLS)
def test_buf_curl_calls_and_is_told_why_not(server, options):
    who = {"email": new_email(), "password": PASSWORD}
    done = curl(server, options, "errand.auth.v1.AuthService/SignUp", who, f"x-forwarded-for: {new_place()}")
    assert done.returncode == 0, done.stderr
    bearer = f"authorization: Bearer {json.loads(done.stdout)['credentials']['accessToken']}"
    made = curl(server, options, "errand.task.v1.TaskService/CreateTask", {"task": {"title": "Buy milk"}}, bearer)
    assert json.loads(made.stdout)["title"] == "Buy milk", made.stderr
    listed = curl(server, options, "errand.task.v1.TaskService/ListTasks", {}, bearer)
    assert [task["title"] for task in json.loads(listed.stdout)["tasks"]] == ["Buy milk"]
    wrong = curl(server, options, "errand.task.v1.TaskService/GetTask", {"taskId": "x"}, bearer)
    assert wrong.returncode != 0
    error = json.loads(wrong.stderr)
    details = [base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4)) for detail in error["details"]]
    assert error["code"] == "invalid_argument" and b"INVALID_FIELDS" in details[0], wrong.stderr


@pytest.mark.parametrize("options", PROTOCOLS.values(), ids=PROTOCOLS)
def test_buf_curl_reads_a_stream_to_its_end_and_is_told_why_there_is_none(server, options):
    who = {"email": new_email(), "password": PASSWORD}
    done = curl(server, options, "errand.auth.v1.AuthService/SignUp", who, f"x-forwarded-for: {new_place()}")
    bearer = f"authorization: Bearer {json.loads(done.stdout)['credentials']['accessToken']}"
    say = {"content": "add buy eggs"}
    said = curl(server, options, "errand.chat.v1.ChatService/StreamMessage", say, bearer)
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("\n{") >= 2 and "eggs" in said.stdout, said.stdout
    refused = curl(server, options, "errand.chat.v1.ChatService/StreamMessage", say)
    assert refused.returncode != 0 and json.loads(refused.stderr)["code"] == "unauthenticated", refused.stderr
