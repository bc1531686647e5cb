"""Real Envoy in the gateway's place: the same calls through both doors to the same services, and the answers compared.

What may differ is the list of envoy_differences.py and nothing else.
"""

import base64
import os
import re
import subprocess

import pytest
import yaml
from envoy_caller import Caller, Contracts
from envoy_differences import DIFFERENCES
from envoy_edges import CONFIG, REPOSITORY, Edges, Envoy, envoy_program, missing
from envoy_probes import SCENARIOS, TASK, TEXT
from google.rpc import error_details_pb2, status_pb2

# Errors that no client can bring about here, and why.
OUT_OF_REACH = {
    "KEYS_NOT_LOADED": "before the first keys arrive",
    "REFRESH_TOKEN_REUSED": "after ten seconds of grace",
    "CURSOR_EXPIRED": "after thirty days",
    "APPROVAL_EXPIRED": "after ten minutes",
    "TURN_IN_PROGRESS": "the built-in planner is faster than a second call",
    "TURN_FAILED": "the built-in planner does not fail",
    "MODEL_BUSY": "the built-in planner takes every call",
    "MODEL_TIMED_OUT": "the built-in planner answers at once",
    "TOKEN_BUDGET_SPENT": "the built-in planner costs no tokens",
    "OVERLOADED": "of a server at its limits",
    "SHUTTING_DOWN": "of a server that stops",
    "STORAGE_BUSY": "of a database at its limits",
    "STORAGE_FULL": "of a disk that is full",
    "OUTCOME_UNKNOWN": "of a database that is lost in the middle of a write",
    "CANCELLED": "the caller is gone",
    "INTERNAL": "a fault",
}
# Errors that are said before a service is asked, and are no part of what both doors share.
OF_THE_GATEWAY = {"USER_MISMATCH", "CONTENT_TYPE_UNSUPPORTED", "RATE_LIMITED", "SERVICE_NOT_FOUND"}


def envoy_is_needed():
    if lacking := missing():
        assert "CI" not in os.environ, f"{lacking} must be installed"
        pytest.skip(f"{' and '.join(lacking)} is not installed")


@pytest.fixture(scope="module")
def edges():
    """Four processes on PostgreSQL, and Envoy."""
    envoy_is_needed()
    edges = Edges(os.environ["ERRAND_BIN"])
    yield edges
    edges.stop()


@pytest.fixture(scope="module")
def contracts(edges):
    return Contracts((edges.folder / "errand.pb").read_bytes())


@pytest.fixture(scope="module")
def seen():
    """What the probes have shown: the differences that were met, the reasons that were seen."""
    return {"scenarios": set(), "differences": set(), "reasons": {}}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_both_doors_answer_alike(edges, contracts, seen, scenario):
    seen["scenarios"].add(scenario)
    answers = {}
    for door in edges.doors:
        caller = Caller(door, contracts).sign_up()
        answers[door.name] = {name: answer for name, answer in scenario(caller, edges)}
    assert answers["gateway"].keys() == answers["envoy"].keys()
    unwished = []
    for name, answer in answers["gateway"].items():
        seen["reasons"].setdefault(answer.reason, name)
        here, there = answer.compared(), answers["envoy"][name].compared()
        for field in sorted(here.keys() | there.keys()):
            gateway, envoy = here.get(field), there.get(field)
            if gateway == envoy:
                continue
            probe = f"{scenario.__name__}: {name}"
            wished = [one.name for one in DIFFERENCES if one.allows(probe, field, gateway, envoy)]
            seen["differences"].update(wished)
            if not wished:
                unwished.append(f"{probe}: {field}: {gateway!r} at the gateway, {envoy!r} at Envoy")
    assert not unwished, "\n".join(unwished)


def all_of_them_ran(seen):
    if seen["scenarios"] != set(SCENARIOS):
        pytest.skip("not every scenario was run")


def test_every_wished_difference_was_met(seen):
    all_of_them_ran(seen)
    names = [one.name for one in DIFFERENCES]
    assert len(set(names)) == len(names)
    assert seen["differences"] == set(names)


def test_every_reason_was_asked_for_or_is_out_of_reach(seen):
    all_of_them_ran(seen)
    lists = (REPOSITORY / "docs/errors.md").read_text().split("## Reasons of field violations")[0]
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", lists, re.MULTILINE))
    expected = documented - set(OUT_OF_REACH) - OF_THE_GATEWAY
    assert OUT_OF_REACH.keys() <= documented
    assert expected - seen["reasons"].keys() == set()


def test_the_documentation_lists_the_same_differences():
    page = (REPOSITORY / "docs/envoy.md").read_text()
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", page.split("## Differences\n")[1].split("\n## ")[0], re.MULTILINE)
    assert rows == [(one.name, one.gateway, one.envoy) for one in DIFFERENCES]


def test_the_bucket_of_envoy_refuses_in_the_words_of_the_errors(edges, contracts):
    changes = [("max_tokens: 5000, tokens_per_fill: 1000, fill_interval: 1s", "max_tokens: 1, tokens_per_fill: 1, fill_interval: 600s")]
    # Both roles that are left and one that is gone: it need not be healthy.
    narrow = Envoy(edges.folder, edges.ports, name="narrow", changes=changes, healthy=2)
    edges.processes.append(narrow.process)
    caller = Caller(edges.doors[1], contracts)
    caller.edge = type(caller.edge)("narrow", narrow.port)
    assert caller.plain("GET", "/.well-known/jwks.json")["http"] == 200
    refused = caller.plain("GET", "/.well-known/jwks.json")
    assert (refused["http"], refused["code"], refused.reason) == (429, 8, "RATE_LIMITED")
    assert refused["header retry-after"] == "1"
    for content_type in ["application/grpc-web+proto", TEXT]:
        refused = caller.web(f"{TASK}/ListTasks", content_type=content_type)
        assert (refused["http"], refused["code"], refused.reason) == (200, 8, "RATE_LIMITED")
        assert refused["header access-control-allow-origin"]
    caller = Caller(caller.edge, contracts)
    assert (refused := caller.native(f"{TASK}/ListTasks"))["code"] == 8 and refused.reason == "RATE_LIMITED"


def test_the_configuration_is_valid_as_it_is(tmp_path, edges):
    text = CONFIG.read_text()
    (tmp_path / "deploy/envoy").mkdir(parents=True)
    (tmp_path / "deploy/envoy/errand.pb").write_bytes((edges.folder / "errand.pb").read_bytes())
    (tmp_path / "deploy/envoy/envoy.yaml").write_text(text)
    command = [envoy_program(), "--mode", "validate", "--config-path", "deploy/envoy/envoy.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_configuration_names_the_methods_and_the_access_of_the_contracts(contracts, edges):
    text = CONFIG.read_text()
    public = set()
    for service in ["auth", "task", "chat"]:
        descriptor = contracts.pool.FindServiceByName(f"errand.{service}.v1.{service.capitalize()}Service")
        (routed,) = re.findall(rf"/errand\\\.{service}\\\.v1\\\.\w+/\(([\w|]+)\)' }}\n +route: ", text)
        assert routed.split("|") == [method.name for method in descriptor.methods], service
        public |= {method.name for method in descriptor.methods if contracts.is_public(method)}
    (open_to_all,) = re.findall(r"AuthService/\(([\w|]+)\)' } }\n +- match: { safe_regex: { regex: '/v1/auth", text)
    assert set(open_to_all.split("|")) == public


def test_what_envoy_says_itself_is_what_its_details_say():
    mappers = yaml.safe_load(CONFIG.read_text())["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    mappers = mappers["typed_config"]["local_reply_config"]["mappers"]
    reasons = set()
    for mapper in mappers:
        added = {one["header"]["key"]: one["header"]["value"] for one in mapper["headers_to_add"]}
        words = mapper.get("body_format_override", {})
        if details := added.get("grpc-status-details-bin"):
            status = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
            info = error_details_pb2.ErrorInfo()
            assert status.details[0].Unpack(info)
            assert info.domain == "errand"
            said = words.get("text_format_source", {}).get("inline_string", added.get("grpc-message"))
            assert (said, added.get("grpc-status", str(status.code))) == (status.message, str(status.code))
            reasons.add(info.reason)
        else:
            assert words["json_format"]["details"][0]["reason"] in reasons | {"UNAVAILABLE"}
    assert reasons == {"TOKEN_MISSING", "TOKEN_EXPIRED", "TOKEN_INVALID", "RATE_LIMITED", "UNAVAILABLE"}
