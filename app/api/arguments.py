"""What an operation takes, read from its request.

The framework finds out from the functions' signatures what they take, and describes it; but it plans anew for each
request how to read that. Here it is planned once. What checks each value is the same.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

ABSENT: Final = object()
BODY: Final = ""
"""The name of the one thing that the body is."""
UNKNOWN: Final = (
    *("cookie_params", "websocket_param_name", "http_connection_param_name", "response_param_name"),
    *("background_tasks_param_name", "security_scopes_param_name", "concurrency"),
)
"""What the framework may find in a signature, and none of ours has."""

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class UnknownArgumentError(Exception):
    """A function takes, or is, something that isn't known here: the application doesn't start."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A request of which is read what an operation takes; `known` is what functions have returned for it already."""

    request: Request
    places: Mapping[str, Mapping[str, Any]]
    errors: list[Any] = field(default_factory=list)
    known: dict[object, Any] = field(default_factory=dict)


class Parameter:
    """One value that a request carries under a name, or may carry."""

    def __init__(self, place: str, found: ModelField) -> None:
        self.name, self.place = found.name, place
        self.alias = BODY if place == "body" else found.validation_alias or found.alias
        self.location = (place,) if place == "body" else (place, self.alias)
        self.default = ABSENT if found.field_info.is_required() else found.get_default()
        self.check = found.validate
        if found.field_info.default_factory or found.field_info.validate_default:
            raise UnknownArgumentError(f"the default of {self.name} would have to be made for each request")

    def read(self, reading: Reading, values: dict[str, Any]) -> None:
        """Put the value among the others, or what is wrong with it among the errors."""
        given = reading.places[self.place].get(self.alias, ABSENT)
        if given is not ABSENT:
            values[self.name], wrong = self.check(given, values, loc=self.location)
            reading.errors.extend(wrong)
        elif self.default is ABSENT:
            missing = {"type": "missing", "loc": self.location, "msg": "Field required", "input": None}
            reading.errors.append(missing)
        else:
            values[self.name] = self.default


class Arguments:
    """All that a function takes: what other functions return for the same request, and its parameters."""

    def __init__(self, found: Dependant) -> None:
        """Plan how it is read.

        Raises:
            UnknownArgumentError: the function takes, or is, something that isn't known here.
        """
        unknown = [name for name in UNKNOWN if getattr(found, name)]
        if found.call is None or not _is_async(found.call) or unknown or len(found.body_params) > 1:
            raise UnknownArgumentError(f"{found.call} has to be async, and to take neither two bodies nor {unknown}")
        self.call: Callable[..., Awaitable[Any]] = found.call
        self.before = [(deeper.name, Arguments(deeper)) for deeper in found.dependencies]
        places: Mapping[str, Sequence[ModelField]] = {
            "path": found.path_params,
            "query": found.query_params,
            "header": found.header_params,
            "body": found.body_params,
        }
        self.parameters = [Parameter(place, each) for place, fields in places.items() for each in fields]
        self.request_name = found.request_param_name

    async def result(self, reading: Reading) -> Any:  # noqa: ANN401  # whatever the function returns
        """Return what the function returns for the request; nothing where something it takes is wrong."""
        if self.call in reading.known:
            return reading.known[self.call]
        before = len(reading.errors)
        values: dict[str, Any] = {}
        for name, deeper in self.before:
            found = await deeper.result(reading)
            if name is not None:
                values[name] = found
        for parameter in self.parameters:
            parameter.read(reading, values)
        if self.request_name is not None:
            values[self.request_name] = reading.request
        if len(reading.errors) > before:
            return None
        found = reading.known[self.call] = await self.call(**values)
        return found


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def handler(found: Dependant) -> Handler:
    """Return what reads all that an operation takes, and calls it.

    Raises:
        UnknownArgumentError: it takes something that isn't known here, or doesn't return its answer whole.
    """
    operation, takes_body = Arguments(found), bool(found.body_params)
    returned = inspect.signature(operation.call, eval_str=True).return_annotation
    if not (isinstance(returned, type) and issubclass(returned, Response)):
        raise UnknownArgumentError(f"{operation.call} has to return a response")

    async def handle(request: Request) -> Response:
        body = {BODY: await request.json()} if takes_body and await request.body() else {}
        places = {"path": request.path_params, "query": request.query_params, "header": request.headers, "body": body}
        reading = Reading(request, places)
        response: Response = await operation.result(reading)
        if reading.errors:
            raise RequestValidationError(reading.errors)
        return response

    return handle
