"""The OpenAPI document: whether the server does what it says, and whether it is a good one."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

from conftest import PASSWORD, new_email, new_place, serving

HERE = pathlib.Path(__file__).parent
REPOSITORY = HERE.parents[1]

# How many requests an operation gets in each phase.
EXAMPLES = "2000" if os.environ.get("ERRAND_BATTERY") == "full" else "5"


def called(server, path, body, headers):
    request = urllib.request.Request(f"http://{server.address}{path}", json.dumps(body).encode(), headers)
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, json.loads(answer.read())


@pytest.fixture(scope="module")
def unlimited():
    """A server that lets anybody call and sign up as often as they like: its limits are tested elsewhere."""
    limits = ["--address-rates", "off", "--sign-ups-per-email", "1000000", "--sign-ups-per-address", "1000000"]
    with serving(*limits) as server:
        yield server


@contextlib.contextmanager
def busy(server, email):
    """Somebody who makes tasks in the account meanwhile, so that whoever watches it sees something."""
    enough = threading.Event()

    def log_in():
        who = {"email": email, "password": PASSWORD}
        return called(server, "/api/auth/login", who, {"x-forwarded-for": new_place()})[1]["token"]

    def work():
        token = None
        while not enough.wait(0.05):
            # Others call for this user, too: what is refused for now is tried again. A watch without end waits for it.
            try:
                token = token or log_in()
                called(server, "/v1/tasks", {"title": "seen"}, {"authorization": f"Bearer {token}"})
            except OSError as refused:
                token = None if isinstance(refused, urllib.error.HTTPError) and refused.code == 401 else token

    working = threading.Thread(target=work)
    working.start()
    try:
        yield
    finally:
        enough.set()
        working.join()


def test_r_061_the_server_does_what_its_document_says(unlimited, tmp_path):
    who = {"email": new_email(), "password": PASSWORD}
    assert called(unlimited, "/api/auth/signup", who, {"x-forwarded-for": new_place()})[0] == 201
    url = f"http://{unlimited.address}"
    command = ["schemathesis", "--config-file", str(HERE / "openapi/schemathesis.toml"), "run"]
    command += [f"{url}/openapi.json", "--max-examples", EXAMPLES, "--workers", "1", "--no-color"]
    environment = dict(os.environ, SERVER=url, EMAIL=who["email"], PASSWORD=PASSWORD)
    environment |= {"PYTHONPATH": str(HERE / "openapi"), "PYTHONDONTWRITEBYTECODE": "1"}
    with busy(unlimited, who["email"]):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(*re.findall(r"^ *\d+ generated.*$", done.stdout, re.MULTILINE))


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
