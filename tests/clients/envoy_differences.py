"""What is different with Envoy in the gateway's place, and wished so. Nothing else may differ.

docs/envoy.md has the same list for people; a test compares the two.
"""

import dataclasses
import re


class Any:
    """Whatever it says."""

    def __repr__(self):
        return "anything"


ANY, NONE = Any(), None
JSON = "application/json"


@dataclasses.dataclass(frozen=True)
class Difference:
    """One wished difference: what a client sees here and there, and in which fields of which probes it shows."""

    name: str
    gateway: str
    envoy: str
    # The probes, as `scenario: probe`.
    where: str
    # By field: what the gateway says and what Envoy says.
    fields: dict

    def allows(self, probe, field, gateway, envoy):
        if not re.fullmatch(self.where, probe):
            return False
        for name, (here, there) in self.fields.items():
            if re.fullmatch(name, field) and matches(here, gateway) and matches(there, envoy):
                return True
        return False


def matches(wanted, value):
    if isinstance(wanted, re.Pattern):
        return isinstance(value, str) and bool(wanted.fullmatch(value))
    return wanted is ANY or wanted == value


ALL = {".*": (ANY, ANY)}
# Answers of Envoy's own that are JSON of the transcoder's, or no JSON at all.
TRANSCODER = {
    "body": (NONE, ANY),
    "code|error .*": (ANY, NONE),
    "header content-type": (JSON, "text/plain"),
}

DIFFERENCES = [
    Difference(
        "created",
        "REST answers a create with 201 and `Location`",
        "200",
        r"(rest|headers|json_mapping|words_of_http): .*",
        {"http": (201, 200), "header location": (re.compile("/v1/.*"), NONE)},
    ),
    Difference(
        "validators",
        "REST answers with `ETag`, and looks at `If-Match`, `If-None-Match` and `Idempotency-Key`",
        "no `ETag`; the three are not looked at: say `etag` and `requestId` in the message",
        r"(rest|headers|json_mapping|reasons): .*|words_of_http: (Idempotency-Key.*|If-.*)",
        {"header etag": (re.compile('"[0-9a-f]+"'), NONE)},
    ),
    Difference(
        "conditions",
        "A write whose `If-Match` is another version is refused with 412, a repetition by `Idempotency-Key` has the first "
        "answer again, a read of a version that is known is 304",
        "they are done",
        r"words_of_http: (Idempotency-Key, again|If-.*)",
        ALL,
    ),
    Difference(
        "HTTP's words in answers",
        "`Cache-Control: no-store` on credentials, `WWW-Authenticate` on 401, `Retry-After` on every error that says when",
        "`WWW-Authenticate` and `Retry-After` only on what Envoy itself refuses, no `Cache-Control`; `RetryInfo` says when",
        r"(rest|reasons|words_of_http|jwt): .*",
        {
            "header cache-control": ("no-store", NONE),
            "header www-authenticate": ("Bearer", NONE),
            "header retry-after": (ANY, NONE),
        },
    ),
    Difference(
        "`grpc-status`",
        "no header of gRPC in an answer of REST",
        "`grpc-status: 0`",
        r"(rest|headers|json_mapping|words_of_http|reasons): .*|(cors|jwt): .*(REST|query).*|jwt: said well, REST",
        {"header grpc-status": (NONE, "0")},
    ),
    Difference(
        "rate limits",
        "by user and by address, and `x-ratelimit-*` in every answer",
        "one bucket for everybody, and no such headers",
        r".*",
        {"header x-ratelimit-.*": (ANY, NONE)},
    ),
    Difference(
        "problem details",
        "`Accept: application/problem+json` is answered as RFC 9457 has it",
        "a google.rpc.Status, as always",
        r"words_of_http: problem details",
        ALL,
    ),
    Difference(
        "mistakes in JSON",
        "INVALID_FIELDS or MALFORMED_MESSAGE with the field's path, as JSON",
        "400, too, with the transcoder's words as plain text",
        r"json_mapping: (a wrong type|an unknown word|a time that is none|no JSON|a list|an unknown parameter"
        r"|a parameter of a wrong type|a parameter where the body is all)",
        TRANSCODER,
    ),
    Difference(
        "what JSON may hold",
        "unknown fields, a field or parameter said twice and another content type are refused (400, 415); a create without a body "
        "lacks its resource",
        "unknown fields are passed over, what is said last counts, the content type is not looked at; no body is an empty "
        "resource",
        r"json_mapping: (an unknown field|an unknown field inside|a field twice|a parameter twice|another content type|no body)",
        ALL,
    ),
    Difference(
        "refusals of Envoy's own",
        "every error has `RequestInfo` in its details",
        "what Envoy refuses itself over gRPC and gRPC-Web has none: the header `x-request-id` has the id",
        r"(jwt|cors|away): .*",
        {"error RequestInfo": (ANY, NONE)},
    ),
    Difference(
        "why a token is invalid",
        "the message of TOKEN_INVALID says why",
        "it does not",
        r"jwt: .*",
        {"error message": (re.compile("the access token is not valid: .*"), "the access token is not valid")},
    ),
    Difference(
        "no `Bearer`",
        "an `Authorization` that is not `Bearer`, a space and a token is TOKEN_INVALID",
        "TOKEN_MISSING",
        r"jwt: said (in small letters|of another scheme|with nothing behind), .*",
        {"error (ErrorInfo|message)": (ANY, ANY)},
    ),
    Difference(
        "paths without a token",
        "404 and 405 are said to everybody",
        "below `/v1/` a token is asked for first",
        r"words_of_http: (PUT|a path that is unknown,) without a token",
        ALL,
    ),
    Difference(
        "preflights",
        "204; who may not call is told nothing",
        "200, with `Access-Control-Expose-Headers`, and with the methods and headers for everybody; without "
        "`Access-Control-Allow-Origin` they mean nothing to a browser",
        r"cors: a preflight .*",
        {
            "http": (204, 200),
            "header access-control-(expose-headers|allow-headers|allow-methods|max-age)": (NONE, ANY),
        },
    ),
    Difference(
        "`x-request-id`",
        "one that is long or holds odd characters is replaced",
        "the answer's header repeats it; the services replace it, so that `RequestInfo` and logs have another",
        r"headers: a request id that is (long|no id), .*",
        {"header x-request-id": ("<id>", ANY)},
    ),
    Difference(
        "`/healthz`",
        "says `ok` or `not serving`",
        "says it by its status alone",
        r"words_of_http: (HEAD )?/healthz",
        {"body": ("ok\n", NONE), "header (content-type|cache-control)": (ANY, NONE)},
    ),
    Difference(
        "content types of gRPC-Web",
        "an answer repeats the request's with or without `+proto`",
        "always with",
        r"faces: .*, gRPC-Web without \+proto",
        {"header content-type": ("application/grpc-web", "application/grpc-web+proto")},
    ),
    Difference(
        "bodies that break off",
        "half a message and a text that is no base64 are refused as MALFORMED_MESSAGE",
        "so is the first, in a service's words; the second with 400 and INTERNAL",
        r"protocol: (half a message, gRPC-Web|no base64, gRPC-Web text)",
        ALL,
    ),
    Difference(
        "GET with a content type of gRPC",
        "is a call of Connect",
        "405",
        r"protocol: GET of a method, gRPC-Web",
        ALL,
    ),
]
