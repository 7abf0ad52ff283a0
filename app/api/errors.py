"""Every refusal as RFC 9457 problem details; this table is where codes meet HTTP."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.db.statements import DatabaseUnavailableError
from app.domain.errors import ActError, DomainError, FieldError, InvalidDocumentError

log: Final = structlog.get_logger()
MEDIA_TYPE: Final = "application/problem+json"

TITLES: Final[Mapping[str, tuple[int, str]]] = {
    "malformed_body": (400, "The body is not well-formed JSON"),
    "unauthenticated": (401, "Valid credentials are needed"),
    "forbidden": (403, "This role may not do this"),
    "not_eligible": (403, "The support policy refuses this request"),
    "insufficient_scope": (403, "The credential is limited to other things"),
    "act_forbidden": (403, "This role may never do this act"),
    "not_found": (404, "There is nothing here that you may know of"),
    "body_too_slow": (408, "The body came too slowly"),
    "method_not_allowed": (405, "This address doesn't take this method"),
    "act_not_allowed": (409, "The ticket doesn't allow this act now"),
    "nothing_to_change": (409, "It is so already"),
    "at_top_level": (409, "There is no level above 3"),
    "assignee_level_too_low": (409, "The assignee's level is below the ticket's"),
    "reopen_window_over": (409, "The time to reopen the ticket is over"),
    "already_disputed": (409, "The verdict was disputed before"),
    "concurrent_update": (409, "Somebody else changed this at the same time"),
    "name_taken": (409, "Another one has this name already"),
    "belongs_elsewhere": (409, "It belongs to somebody else"),
    "subscriptions_overlap": (409, "Subscriptions of one agreement may not overlap"),
    "policy_in_force": (409, "This policy version can't be taken back any more"),
    "effective_from_taken": (409, "Another version takes effect at the same instant"),
    "not_overridable": (409, "The decision can't be overridden"),
    "check_used": (409, "Another ticket uses this eligibility check"),
    "idempotency_key_in_use": (409, "A request with this key is still under way"),
    "precondition_failed": (412, "The version you have is not the current one"),
    "precondition_required": (428, "Say which version you mean"),
    "too_many_requests": (429, "So many requests are more than one may make"),
    "body_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "Send JSON"),
    "validation_failed": (422, "Some fields are wrong"),
    "instant_out_of_range": (422, "An instant lies outside 2000 to 2100"),
    "no_policy_in_force": (422, "No policy version is in force at this instant"),
    "idempotency_key_reused": (422, "This key was used for another request"),
    "invalid_cursor": (422, "This cursor is not one of this list"),
    "calendar_never_opens": (422, "The calendar has no open time within 366 days"),
    "trace_too_long": (422, "The span is too long to explain"),
    "internal_error": (500, "Something went wrong on our side"),
    "database_unavailable": (503, "The service can't reach its database"),
    "issuer_unavailable": (503, "The issuer of the token can't be reached"),
}
"""Each code with its status and title: both are public and never change their meaning."""


class Problem(HTTPException):
    """A refusal on its way to the client."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        """Take a code of the table, a sentence that says what to do, and members of its own."""
        super().__init__(TITLES[code][0], detail, dict(headers or {}))
        self.code, self.errors, self.more = code, tuple(errors), more


@dataclass
class Replayed(Exception):  # noqa: N818  # no error: an answer that was given before
    """The answer kept under the request's idempotency key."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class FieldProblem(BaseModel):
    """One field that is wrong."""

    pointer: str
    code: str
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457: what was refused, why, and what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None
    allowed_acts: list[str] | None = None


def render(request: Request, problem: Problem) -> Response:
    """Write a problem as its answer."""
    status, title = TITLES[problem.code]
    body: dict[str, Any] = {
        "type": f"/problems/{problem.code}",
        "title": title,
        "status": status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request.state.request_id,
    }
    if problem.errors:
        body["errors"] = [
            {"pointer": error.pointer[:LONGEST_POINTER], "code": error.code, "message": error.message}
            for error in problem.errors[:MOST_ERRORS]
        ]
    content = json.dumps(body | problem.more, ensure_ascii=True).encode()
    return Response(content, status, dict(problem.headers or {}), MEDIA_TYPE)


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer a refusal of our own, or one of the framework's (404, 405, 413)."""
    if isinstance(error, Problem):
        return render(request, error)
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    match status:
        case HTTPStatus.NOT_FOUND:
            problem = not_found()
        case HTTPStatus.METHOD_NOT_ALLOWED:
            headers = error.headers if isinstance(error, HTTPException) else None
            allowed = request.state.allowed() or (headers or {}).get("Allow", "")
            problem = Problem(
                "method_not_allowed",
                f"This address doesn't take that method; use one of {allowed}.",
                headers={"Allow": allowed},
            )
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            problem = Problem("body_too_large", "The body is too large; send less.")
        case _:
            problem = Problem("malformed_body", "The request could not be read; send well-formed JSON in UTF-8.")
    return render(request, problem)


async def on_domain_error(request: Request, error: Exception) -> Response:
    """Answer a refusal that the domain raised."""
    if isinstance(error, InvalidDocumentError):
        return render(request, invalid(error.errors))
    if isinstance(error, ActError):
        sentence = _sentence(str(error))
        return render(request, Problem(error.code, sentence, allowed_acts=list(error.allowed_acts)))
    if isinstance(error, DomainError) and error.code in TITLES:
        return render(request, Problem(error.code, _sentence(str(error))))
    return await on_bug(request, error)


async def on_invalid_request(request: Request, error: Exception) -> Response:
    """Answer what the framework's validation found, with pointers and without any value."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return render(request, invalid([_field_error(item) for item in found[:MOST_ERRORS]]))


async def on_unavailable(request: Request, _error: Exception) -> Response:
    """Answer while the database can't be reached."""
    detail = (
        "The request was not carried out as far as we know; try again, with the same Idempotency-Key if it had one."
    )
    return render(request, Problem("database_unavailable", detail, headers={"Retry-After": "1"}))


async def on_bug(request: Request, error: Exception) -> Response:
    """Answer what nobody foresaw, and log it once."""
    log.error("request failed", request_id=request.state.request_id, exc_info=error)
    detail = "This is a fault of ours; tell us the request_id if it happens again."
    return render(request, Problem("internal_error", detail))


async def on_replay(_request: Request, replayed: Exception) -> Response:
    """Give the answer that was given before."""
    if not isinstance(replayed, Replayed):
        raise replayed
    headers = {**replayed.headers, "Idempotency-Replayed": "true"}
    return Response(replayed.body, replayed.status, headers)


HANDLERS: Final = {
    HTTPException: on_problem,
    DomainError: on_domain_error,
    RequestValidationError: on_invalid_request,
    DatabaseUnavailableError: on_unavailable,
    Replayed: on_replay,
}


def invalid(errors: Iterable[FieldError]) -> Problem:
    """Return the refusal of a request whose fields are wrong."""
    return Problem(
        "validation_failed",
        "Some fields are wrong; mend those named in errors and send the request again.",
        errors=errors,
    )


def not_found() -> Problem:
    """Return the one answer for what isn't there and for what the caller may not know of."""
    return Problem("not_found", "There is nothing here that you may know of; check the address and the id.")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


LONGEST_STEP: Final = 64
LONGEST_POINTER: Final = 1_000
MOST_ERRORS: Final = 100


def _field_error(item: Mapping[str, Any]) -> FieldError:
    place, *steps = item["loc"]
    if place == "body":
        pointer = "".join(f"/{_step(step)}" for step in steps)
    else:
        pointer = f"/{place}/" + "/".join(_step(step) for step in steps)
    code = str(item["type"])
    return FieldError(pointer, code, _MESSAGES.get(code) or str(item["msg"]).removeprefix("Value error, "))


def _step(step: object) -> str:
    return str(step)[:LONGEST_STEP].encode(errors="replace").decode().replace("~", "~0").replace("/", "~1")


_MESSAGES: Final = {
    "missing": "this field is required",
    "extra_forbidden": "this field is not known here",
}
