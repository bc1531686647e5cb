"""The OpenAPI document: whether the server does what it says, and whether it is a good one."""

import json
import os
import pathlib
import shutil
import subprocess
import urllib.request

import pytest

from conftest import PASSWORD, new_email, new_place

HERE = pathlib.Path(__file__).parent
REPOSITORY = HERE.parents[1]

# How many requests an operation gets in each phase.
EXAMPLES = "2000" if os.environ.get("ERRAND_BATTERY") == "full" else "5"


def called(server, path, body, headers):
    request = urllib.request.Request(f"http://{server.address}{path}", json.dumps(body).encode(), headers)
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, json.loads(answer.read())


@pytest.fixture(scope="session")
def token(server):
    who = {"email": new_email(), "password": PASSWORD}
    status, account = called(server, "/api/auth/signup", who, {"x-forwarded-for": new_place()})
    assert status == 201
    return account["token"]


def test_r_061_the_server_does_what_its_document_says(server, token, tmp_path):
    command = ["schemathesis", "--config-file", str(HERE / "openapi/schemathesis.toml"), "run"]
    command += [f"http://{server.address}/openapi.json", "--max-examples", EXAMPLES, "--workers", "2", "--no-color"]
    environment = dict(os.environ, TOKEN=token, PYTHONPATH=str(HERE / "openapi"), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_prints_what_is_served(server):
    with urllib.request.urlopen(f"http://{server.address}/openapi.json", timeout=30) as answer:
        served = json.loads(answer.read())
    printed = subprocess.run([os.environ["ERRAND_BIN"], "openapi"], capture_output=True, check=True).stdout
    assert json.loads(printed) == served


def test_redocly_finds_nothing_to_improve():
    folder = REPOSITORY / "target/clients/redocly"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "openapi/package.json", folder)
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    subprocess.run(install, cwd=folder, check=True, timeout=300)
    printed = subprocess.run([os.environ["ERRAND_BIN"], "openapi"], capture_output=True, check=True).stdout
    (folder / "openapi.json").write_bytes(printed)
    environment = dict(os.environ, REDOCLY_TELEMETRY="off", REDOCLY_SUPPRESS_UPDATE_NOTICE="true")
    lint = ["node_modules/.bin/redocly", "lint", "--format", "json", "openapi.json"]
    done = subprocess.run(lint, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    totals = json.loads(done.stdout[done.stdout.index("{") :])["totals"]
    assert (totals["errors"], totals["warnings"]) == (0, 0), done.stdout
