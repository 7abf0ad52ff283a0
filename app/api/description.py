"""The OpenAPI description: what the framework knows, with every error declared and named alike."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.deps import Allowed, bearer, everybody
from app.api.errors import MEDIA_TYPE, TITLES, ProblemDetails
from app.api.front_door import Route
from app.domain.events import CLIENTS, STAFF, Role
from app.domain.ticket import ACTS

STORIES: Final = Path(__file__).with_name("stories.md").read_text(encoding="utf-8")
"""Two stories of how it goes; a test makes their calls, and their answers are as written."""

ABOUT: Final[dict[str, Any]] = {
    "title": "Kawan Elite support",
    "version": "1.0.0",
    "description": (
        "Support tickets under a support policy: who is eligible and why, what is promised by when and why, "
        "and whether it was kept. Instants are RFC 3339 in UTC; every refusal is an RFC 9457 problem with a code.\n\n"
        + STORIES
    ),
    "openapi_tags": [
        {"name": "tickets", "description": "Requests for support, their clocks, and what is said and done on them."},
        {"name": "eligibility", "description": "Whether a request would be taken, why, and what to do instead."},
        {"name": "calendars", "description": "Business time as a calculator that explains itself."},
        {"name": "policy", "description": "The support policy by version."},
        {"name": "directory", "description": "Clients, contacts, agreements, subscriptions and staff."},
        {"name": "keys", "description": "API keys: made, rotated and revoked."},
        {"name": "audit", "description": "Who changed what, sealed and verified."},
        {"name": "system", "description": "The service about itself."},
    ],
}
EXAMPLES: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("examples.json").read_text(encoding="utf-8"))
"""A call of each operation as it really went; a test makes them anew and compares."""

ALWAYS: Final = (422, 503)
WITH_KEY: Final = (401, 403, 429)
WITH_BODY: Final = (400, 408, 413, 415)
WITH_ID: Final = (404,)
WRITES: Final = (409,)
GUARDED: Final = (412,)
REQUIRED: Final = (428,)


def of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return the function that describes an application, once."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app)
        return app.openapi_schema

    return describe


def _describe(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs", {}) | {"ProblemDetails": problem}
    schemas["EligibilityProblem"] = _with_decision()
    document["components"]["headers"] = {
        name: {"description": said, "schema": {"type": "string"}} for name, said in HEADERS.items()
    }
    document["components"]["headers"]["X-Request-Id"]["required"] = True
    scheme = bearer.model.model_dump(mode="json", by_alias=True, exclude_none=True)
    document["components"]["securitySchemes"] = {bearer.scheme_name: scheme}
    _name_access(app, {each["operationId"]: each for path in document["paths"].values() for each in path.values()})
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _declare_errors(path, method, operation)
            _declare_headers(method, operation, schemas)
            _leave_out(operation)
            _require_match(method, operation)
            _illustrate(operation)
    return document


def _name_access(app: FastAPI, operations: Mapping[str, dict[str, Any]]) -> None:
    """Say whom each operation is for, and which scope a limited credential needs for it."""
    by_act = defaultdict[str, set[Role]](set)
    for act in ACTS:
        by_act[f"/v1/tickets/{{ticket_id}}/{act.name}"] |= act.who - {Role.SERVICE}
    for route in app.routes:
        if not isinstance(route, Route) or not route.include_in_schema:
            continue
        operation = operations[str(route.operation_id)]
        declared = [dependency.call for dependency in route.dependant.dependencies]
        roles = next((set(call.roles) for call in declared if isinstance(call, Allowed)), set())
        (method,) = route.methods or {""}
        roles = roles if method == "GET" else by_act.get(route.path, roles)
        scope = route.needs.permission(method) if route.needs else None
        if roles and not roles.issuperset({*CLIENTS, *STAFF}):
            operation["description"] += f"\n\nFor {', '.join(role for role in Role if role in roles)}."
        if everybody not in declared:
            operation["security"] = [{bearer.scheme_name: [] if scope is None else [scope.value]}]
        if scope is not None:
            operation["description"] += f"\n\nScope: `{scope}`."


HEADERS: Final = {
    "X-Request-Id": "The request's id, as given or made; tell it when you report a fault.",
    "ETag": "The version in quotes, for If-Match.",
    "Location": "Where the new thing is read.",
    "RateLimit": "What is left of your requests: r in this window, which ends in t seconds.",
    "RateLimit-Policy": "How many requests you may make: q in a window of w seconds.",
    "Retry-After": "In how many seconds to try again.",
    "Link": 'The next page as <address>; rel="next"; absent on the last.',
    "Idempotency-Replayed": "`true` where this is the first answer again, as it was then: read the ticket for now.",
}
COUNTED: Final = frozenset({"200", "201", "204", "429"})
TAGGED: Final = frozenset({"ClocksShape", "ActsShape", "MessageShape", "FeedbackShape", "CalendarShape"})
"""What goes with a ticket's version, or a calendar's, and doesn't show it."""
NOWHERE: Final = frozenset({"send_message", "acknowledge_policy", "add_calendar_exception"})
"""What makes something new that has no address of its own."""


def _declare_headers(method: str, operation: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    """Say which headers an answer carries: what has a version has a tag, and what is new is somewhere."""
    keyed = any(each["name"] == "idempotency-key" for each in operation.get("parameters", ()))
    for status, response in operation["responses"].items():
        names = ["X-Request-Id"]
        names += ["RateLimit", "RateLimit-Policy"] if "security" in operation and status in COUNTED else []
        names += ["Retry-After"] if status in {"429", "503"} else []
        if status in {"200", "201"}:
            listed = operation["operationId"].startswith("list_")
            shape = response.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
            name = shape.rpartition("/")[2]
            tagged = name in TAGGED or "version" in schemas.get(name, {}).get("properties", {})
            names += ["Link"] if listed else ["ETag"] if tagged else []
            made = (method, status) == ("post", "201") and operation["operationId"] not in NOWHERE
            names += ["Location"] if made else []
            names += ["Idempotency-Replayed"] if keyed else []
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _leave_out(operation: dict[str, Any]) -> None:
    """Describe a body that may be left out as just that: it is no null."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    choices = content["schema"].get("anyOf") if content else None
    if choices:
        content["schema"] = next(choice for choice in choices if "$ref" in choice)


def _require_match(method: str, operation: dict[str, Any]) -> None:
    """Describe If-Match as required where it is: the route takes none, to answer 428 with what to do."""
    for parameter in operation.get("parameters", ()):
        if method == "patch" and parameter["name"] == "if-match":
            choice, _null = parameter["schema"].pop("anyOf")
            parameter |= {"required": True, "schema": parameter["schema"] | choice}


def _illustrate(operation: dict[str, Any]) -> None:
    """Add the request and the answer of one real call."""
    example = EXAMPLES.get(operation["operationId"])
    if example is None:
        return
    if "body" in example:
        operation["requestBody"]["content"]["application/json"]["example"] = example["body"]
    if example["response"] is not None:
        operation["responses"][str(example["status"])]["content"]["application/json"]["example"] = example["response"]
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in example["parameters"]:
            parameter["example"] = example["parameters"][parameter["name"]]


def _with_decision() -> dict[str, Any]:
    """Describe the refusal of a ticket: a problem with the whole decision."""
    decision = {"decision": {"$ref": "#/components/schemas/DecisionShape"}}
    own = {"type": "object", "properties": decision, "required": ["decision"]}
    return {"allOf": [{"$ref": "#/components/schemas/ProblemDetails"}, own]}


def _declare_errors(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    statuses = list(ALWAYS)
    statuses += WITH_KEY if "security" in operation else ()
    statuses += WITH_BODY if "requestBody" in operation else ()
    statuses += WITH_ID if "{" in path else ()
    statuses += WRITES if method in {"post", "put", "patch"} and "security" in operation else ()
    statuses += GUARDED if any(item["name"] == "if-match" for item in operation.get("parameters", ())) else ()
    statuses += REQUIRED if method == "patch" else ()
    for status in sorted(statuses):
        responses.setdefault(str(status), _problem(status, operation["operationId"]))


def _problem(status: int, operation_id: str) -> dict[str, Any]:
    codes = sorted(code for code, (known, _) in TITLES.items() if known == status)
    shape = "EligibilityProblem" if (operation_id, status) == ("create_ticket", 403) else "ProblemDetails"
    reference: dict[str, Any] = {"$ref": f"#/components/schemas/{shape}"}
    if shape == "EligibilityProblem":
        # A key without the right is refused without any decision.
        reference = {"anyOf": [reference, {"$ref": "#/components/schemas/ProblemDetails"}]}
    return {"description": "One of: " + ", ".join(codes), "content": {MEDIA_TYPE: {"schema": reference}}}
