"""The one front door: request ids for every answer, and strict JSON for every body."""

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import structlog
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import arguments, deps, errors
from app.api.errors import MOST_ERRORS, Problem
from app.db.statements import DatabaseUnavailableError
from app.domain.errors import DomainError, FieldError

log: Final = structlog.get_logger()
LARGEST_BODY: Final = 256 * 1024
BODY_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 4.0
DEEPEST: Final = 20
MOST_VALUES: Final = 10_000
LARGEST_NUMBER: Final = 2**63
LONGEST_PATH: Final = 1_000
MOST_DIGITS: Final = 400
NO_GZIP: Final = re.compile(r"gzip\s*;\s*q\s*=\s*0(\.0*)?\s*(,|$)", re.IGNORECASE)
DEFAULT_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Accept-Encoding"),
)
"""What each answer says that doesn't say otherwise."""
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
CONTROLS: Final = re.compile("[\x00-\x1f\x7f]")
SURROGATE: Final = re.compile("[\ud800-\udfff]")


class RequestId:
    """Gives every request an id, the caller's own where it is a fit one, and every answer its headers."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an HTTP request on with its id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wished = Headers(scope=scope).get("x-request-id", "")
        request_id = wished if REQUEST_ID.fullmatch(wished) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = request_id

        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                path = scope["path"][:LONGEST_PATH]
                asked = {"method": scope["method"], "path": path, "request_id": request_id}
                caller = scope["state"].get("caller")
                log.info("answered", status=message["status"], by=caller.principal if caller else None, **asked)
                own = list[tuple[bytes, bytes]](message["headers"])
                given = {name for name, _ in own}
                own += [(name, value) for name, value in DEFAULT_HEADERS if name not in given]
                own += [(b"x-request-id", request_id.encode()), *scope["state"].get("quota", ())]
                if scope["app"].state.leaving.is_set():
                    # Whoever asks again is to ask another process.
                    own.append((b"connection", b"close"))
                message = {**message, "headers": own}
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except ClientDisconnect:
            log.info("hung up", method=scope["method"], request_id=request_id)
        except Exception as error:
            if started:
                raise
            response = await errors.on_bug(Request(scope), error)
            await response(scope, receive, answer)


class Methods:
    """Answers HEAD like GET without the body, OPTIONS with what an address takes, and says so where it doesn't."""

    def __init__(self, app: ASGIApp, routes: Sequence[APIRoute]) -> None:
        """Wrap the application that has these routes."""
        self.app = app
        self.paths = [(route.path_regex, route.methods or set()) for route in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, as the method that its route knows."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if len(scope["path"]) > LONGEST_PATH or CONTROLS.search(scope["path"]):
            await errors.render(Request(scope), errors.not_found())(scope, receive, send)
            return
        scope.setdefault("state", {})["allowed"] = partial(self.allowed, scope["path"])
        if scope["method"] == "OPTIONS" and (allowed := self.allowed(scope["path"])):
            await Response(None, 204, {"Allow": allowed})(scope, receive, send)
        elif scope["method"] == "HEAD" and "HEAD" in self.allowed(scope["path"]):
            await self.app({**scope, "method": "GET"}, receive, _bodiless(send))
        else:
            await self.app(scope, receive, send)

    def allowed(self, path: str) -> str:
        """Return what an address takes, as the header says it; nothing where no route has it."""
        known = {method for regex, methods in self.paths if regex.match(path) for method in methods}
        return ", ".join(sorted(known | {"OPTIONS"} | ({"HEAD"} if "GET" in known else set()))) if known else ""


def _bodiless(send: Send) -> Send:
    async def head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return head


class Compressed(GZipMiddleware):
    """Compresses what is large for whoever takes that; `gzip;q=0` refuses it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, compressed or not."""
        accepted = Headers(scope=scope).get("accept-encoding", "") if scope["type"] == "http" else ""
        compressed = "gzip" in accepted.lower() and not NO_GZIP.search(accepted)
        await (super().__call__ if compressed else self.app)(scope, receive, send)


READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose body means nothing to anybody."""


class StrictRequest(Request):
    """A request whose body is small, UTF-8 and unambiguous JSON, or refused."""

    def has_none(self) -> None:
        """Know that there is no body, and wait for none."""
        self._body = b""

    async def body(self) -> bytes:
        """Read the body, no more of it than is allowed and no longer.

        Raises:
            Problem: it is too large, too slow, or encoded.
        """
        if not hasattr(self, "_body"):
            if self.headers.get("content-encoding", "identity") != "identity":
                raise Problem("unsupported_media_type", "The body has a Content-Encoding; send it without one.")
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    self._body = await self._read()
            except TimeoutError:
                detail = f"The body had not arrived after {BODY_SECONDS:g} seconds; send it in one piece."
                raise Problem("body_too_slow", detail, headers={"Connection": "close"}) from None
        return self._body

    async def _read(self) -> bytes:
        read = bytearray()
        async for chunk in self.stream():
            read += chunk
            if len(read) > LARGEST_BODY:
                raise Problem("body_too_large", f"The body is larger than {LARGEST_BODY} bytes; send less.")
        return bytes(read)

    async def json(self) -> Any:  # noqa: ANN401  # JSON
        """Read the body as JSON.

        Raises:
            Problem: it isn't UTF-8 or JSON, repeats a key, is nested too deeply, or holds what no field may.
        """
        raw = await self.body()
        try:
            value = json.loads(
                raw.decode("utf-8"),
                object_pairs_hook=_unique,
                parse_constant=_no_constant,
                parse_int=_integer,
            )
        except UnicodeDecodeError:
            raise Problem("malformed_body", "The body is not UTF-8; encode it so.") from None
        except RecursionError:
            raise Problem("malformed_body", f"The body is nested too deeply; stay within {DEEPEST} levels.") from None
        except ValueError as error:
            raise Problem("malformed_body", _why(error)) from None
        if _size(value) > MOST_VALUES:
            raise Problem("malformed_body", f"The body holds more than {MOST_VALUES} values; send less at a time.")
        found: list[FieldError] = []
        _inspect(value, "", 0, found)
        if found:
            raise errors.invalid(found)
        return value


class Route(APIRoute):
    """A route that knows who asks before it reads what they send, reads strict requests, and knows its parameters."""

    needs: deps.Needs | None = None
    """The area it belongs to; none only where everybody may call it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler of ours in place of the framework's: see `arguments.handler`."""
        handle = arguments.handler(self.dependant)
        known = {field.alias for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)}
        takes_body = self.body_field is not None
        public = any(declared.call is deps.everybody for declared in self.dependant.dependencies)

        async def answered(request: Request, limit: asyncio.Timeout) -> Response:
            admitted_at = asyncio.get_running_loop().time()
            turn = nullcontext() if public else await _admit(request, self.needs)
            _check_query(request, known)
            strict_request = StrictRequest(request.scope, request.receive)
            if await _has_body(strict_request, limit) and request.method not in READS:
                _check_media_type(request)
                if not takes_body:
                    _require_empty(await strict_request.json())
            try:
                async with turn:
                    if not public:
                        await _still(request, self.needs, admitted_at)
                    return await handle(strict_request)
            except (Problem, DomainError, RequestValidationError):
                # What refuses it may be what this very request has done before.
                if hasattr(request.state, "once"):
                    await request.state.once.replay()
                raise

        return partial(_in_time, answered)


async def _in_time(answered: Callable[[Request, asyncio.Timeout], Awaitable[Response]], request: Request) -> Response:
    """Give up in time: each statement is bounded, but a request makes several."""
    limit = asyncio.timeout(ANSWER_SECONDS)
    try:
        async with limit:
            return await answered(request, limit)
    except TimeoutError:
        if not limit.expired():
            raise
        raise DatabaseUnavailableError("the database took too long, one statement after the other") from None
    finally:
        # No turn is held meanwhile, and it isn't the database that takes its time.
        if request.scope["state"].get("everywhere"):
            await deps.runtime(request).bearers.forgotten()


def route_of(area: str | None) -> type[Route]:
    """Return the kind of route that a limited credential needs an area's scope for; with no area every one will do."""

    class OfArea(Route):
        needs = deps.Needs(area)

    return OfArea


async def _admit(request: Request, needs: deps.Needs | None) -> asyncio.Semaphore:
    """Find out who asks and count it, before anything they send is read; return what is held while it is their turn.

    Raises:
        Problem: 401 or 403 where they aren't believed or known, or their credential is limited to other things;
            429 where they asked for more than they may.
    """
    caller = await deps.authenticated(request)
    limits = caller.held.limits
    quota = await limits.count(caller.principal, deps.wall_clock())
    request.scope["state"]["quota"] = [
        (b"ratelimit-policy", b'"requests";q=%d;w=%d' % (quota.limit, quota.window_seconds)),
        (b"ratelimit", b'"requests";r=%d;t=%d' % (max(0, quota.left), quota.reset_seconds)),
    ]
    if quota.exceeded:
        detail = (
            f"This is one more than {quota.limit} requests in {quota.window_seconds} seconds;"
            " wait as long as Retry-After says."
        )
        raise Problem("too_many_requests", detail, headers={"Retry-After": str(quota.reset_seconds)})
    if needs is not None:
        needs.require(caller, request.method)
    return limits.turn(caller.principal)


async def _still(request: Request, needs: deps.Needs | None, admitted_at: float) -> None:
    """Find out anew who asks, where their body or their turn has kept them: they may have been shut out meanwhile.

    Raises:
        Problem: 401 or 403 where they were.
    """
    waited = asyncio.get_running_loop().time() - admitted_at
    if waited > deps.runtime(request).bearers.slack:
        # Once: who finds out again and again while everybody is slow never comes to act.
        before = request.state.caller
        del request.state.caller
        try:
            caller = await deps.authenticated(request)
        except Problem:
            # The log names who was shut out.
            request.state.caller = before
            raise
        if needs is not None:
            needs.require(caller, request.method)


async def _has_body(request: StrictRequest, limit: asyncio.Timeout) -> bool:
    """Read the body, where there is one; the time that it takes to come is its sender's."""
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        request.has_none()
        return False
    until, clock = limit.when(), asyncio.get_running_loop().time
    began = clock()
    limit.reschedule(None)
    body = await request.body()
    limit.reschedule(until and until + clock() - began)
    return bool(body)


def _require_empty(body: object) -> None:
    """See that nothing is sent to an operation that takes nothing: it would be ignored.

    Raises:
        Problem: 422 naming each field.
    """
    message = "this operation takes no body"
    if isinstance(body, dict):
        found = [FieldError(f"/{_step(name)}", "extra_forbidden", message) for name in list(body)[:MOST_ERRORS]]
    else:
        found = [] if body is None else [FieldError("", "extra_forbidden", message)]
    if found:
        raise errors.invalid(found)


def _check_query(request: Request, known: set[str]) -> None:
    if not request.scope["query_string"]:
        return
    given = [name for name, _ in request.query_params.multi_items()]
    unknown = sorted(set(given) - known)[:MOST_ERRORS]
    found = [_query_error(name, "unknown_parameter", "this parameter is not known here") for name in unknown]
    found += [
        _query_error(name, "repeated_parameter", "give this parameter once")
        for name in known.intersection(given)
        if given.count(name) > 1
    ]
    found += [
        _query_error(name, "forbidden_character", "a value may not hold NUL")
        for name, value in request.query_params.items()
        if "\0" in value
    ]
    if found:
        raise errors.invalid(found)


def _query_error(name: str, code: str, message: str) -> FieldError:
    return FieldError("/query/" + _step(name), code, message)


def _check_media_type(request: Request) -> None:
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() != "application/json" or charset not in {"", "utf-8"}:
        raise Problem(
            "unsupported_media_type", "The body is not declared as application/json in UTF-8; declare and encode it so."
        )


def _size(value: object) -> int:
    """Count the values of a body, as far as it matters: who sends more than is allowed is told so at once."""
    waiting, count = [value], 0
    while waiting and count <= MOST_VALUES:
        found = waiting.pop()
        count += 1
        if isinstance(found, dict):
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
    return count + len(waiting)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _MalformedError("An object has the same key twice; give each key once.")
    return found


def _no_constant(_name: str) -> None:
    raise _MalformedError("NaN and Infinity are not JSON; leave them out.")


def _integer(text: str) -> float:
    """Read a whole number; one of thousands of digits is as good as infinite."""
    return int(text) if len(text) < MOST_DIGITS else float("inf")


class _MalformedError(ValueError):
    """JSON that the standard reader would take, and we don't."""


def _why(error: ValueError) -> str:
    return (
        str(error) if isinstance(error, _MalformedError) else "The body is not well-formed JSON; send one JSON value."
    )


def _inspect(value: object, pointer: str, depth: int, found: list[FieldError]) -> None:
    """Note NUL, lone surrogates and numbers out of range wherever they are, and refuse deep nesting."""
    if depth > DEEPEST:
        raise Problem("malformed_body", f"The body is nested too deeply; stay within {DEEPEST} levels.")
    if len(found) >= MOST_ERRORS:
        return
    if isinstance(value, str):
        if "\0" in value or SURROGATE.search(value):
            found.append(
                FieldError(pointer, "forbidden_character", "a text may not hold NUL or half of a surrogate pair")
            )
    elif isinstance(value, float | int) and not -LARGEST_NUMBER < value < LARGEST_NUMBER:
        found.append(FieldError(pointer, "out_of_range", "a number has to lie between -2^63 and 2^63"))
    elif isinstance(value, dict):
        for name, item in value.items():
            _inspect(name, f"{pointer}/{_step(name)}", depth + 1, found)
            _inspect(item, f"{pointer}/{_step(name)}", depth + 1, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _inspect(item, f"{pointer}/{index}", depth + 1, found)


def _step(name: str) -> str:
    return name[:64].encode("ascii", "replace").decode().replace("\0", "?").replace("~", "~0").replace("/", "~1")
