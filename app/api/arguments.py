"""What an operation takes, read from its request.

The framework finds out from the functions' signatures what they take, and describes it; but it plans anew for each
request how to read that. Here it is planned once. What checks each value is the same.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from fastapi._compat import ModelField, field_annotation_is_scalar, get_missing_field_error
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from fastapi.utils import get_path_param_names
from starlette.requests import Request
from starlette.responses import Response

ABSENT: Final = object()
BODY: Final = ""
"""The name of the one thing that the body is."""
UNKNOWN: Final = {
    "cookie_params": "a cookie",
    "websocket_param_name": "a web socket",
    "http_connection_param_name": "a connection",
    "response_param_name": "a response to change",
    "background_tasks_param_name": "background tasks",
    "security_scopes_param_name": "security scopes",
    "concurrency": "a bound on how many run at once",
}
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
    known: dict[object, object] = field(default_factory=dict)


class Parameter:
    """One value that a request carries under a name, or may carry."""

    def __init__(self, place: str, found: ModelField) -> None:
        self.name, self.place, info = found.name, place, found.field_info
        self.alias = BODY if place == "body" else found.alias
        self.location = (place,) if place == "body" else (place, self.alias)
        self.default = ABSENT if info.is_required() else found.get_default()
        self.check = found.validate
        is_single = place == "body" or field_annotation_is_scalar(info.annotation)
        wrong = {
            "have a plain default": info.default_factory is not None or bool(info.validate_default),
            "have one name": found.validation_alias not in {None, found.alias},
            "be a single value, such as words with commas": not is_single,
            "be the whole body, as JSON": isinstance(info, Form) or bool(getattr(info, "embed", None)),
        }
        for what, is_so in wrong.items():
            if is_so:
                raise UnknownArgumentError(f"{self.name} has to {what}")

    def read(self, reading: Reading, values: dict[str, Any]) -> None:
        """Put the value among the others, or what is wrong with it among the errors."""
        given = reading.places[self.place].get(self.alias, ABSENT)
        if given is not ABSENT:
            values[self.name], wrong = self.check(given, loc=self.location)
            reading.errors.extend(wrong)
        elif self.default is ABSENT:
            reading.errors.append(get_missing_field_error(self.location))
        else:
            values[self.name] = self.default


class Arguments:
    """All that a function takes: what other functions return for the same request, and its parameters."""

    def __init__(self, found: Dependant, *, of_operation: bool = False) -> None:
        """Plan how it is read.

        Raises:
            UnknownArgumentError: the function takes, or is, something that isn't known here.
        """
        if found.call is None:
            raise UnknownArgumentError("there is nothing to call")
        self.call: Callable[..., Awaitable[Any]] = found.call
        unknown = [what for name, what in UNKNOWN.items() if getattr(found, name)]
        if unknown:
            raise UnknownArgumentError(f"{_name(self.call)} takes {unknown[0]}, which nothing here knows")
        if not (inspect.iscoroutinefunction(self.call) or inspect.iscoroutinefunction(type(self.call).__call__)):
            raise UnknownArgumentError(f"write {_name(self.call)} as async def, without yield")
        if not found.use_cache:
            raise UnknownArgumentError(f"{_name(self.call)} is called once for a request, whoever depends on it")
        if len(found.body_params) > of_operation:
            raise UnknownArgumentError(f"{_name(self.call)} takes a body too much: an operation itself takes one model")
        places: Mapping[str, Sequence[ModelField]] = {
            "path": found.path_params,
            "query": found.query_params,
            "header": found.header_params,
            "body": found.body_params,
        }
        self.dependencies = [(deeper.name, Arguments(deeper)) for deeper in found.dependencies]
        try:
            self.parameters = [Parameter(place, each) for place, fields in places.items() for each in fields]
        except UnknownArgumentError as error:
            raise UnknownArgumentError(f"{_name(self.call)}: {error}") from None
        self.request_name = found.request_param_name

    @property
    def placeholders(self) -> set[str]:
        """Return what of its address is read."""
        own = {parameter.alias for parameter in self.parameters if parameter.place == "path"}
        return own.union(*(deeper.placeholders for _, deeper in self.dependencies))

    async def values(self, reading: Reading) -> dict[str, Any] | None:
        """Return what to call the function with; None where something of it is wrong: then it isn't to be called."""
        wrong_before = len(reading.errors)
        values: dict[str, Any] = {}
        for name, deeper in self.dependencies:
            result = await deeper.result(reading)
            if name is not None:
                values[name] = result
        for parameter in self.parameters:
            parameter.read(reading, values)
        if self.request_name is not None:
            values[self.request_name] = reading.request
        return None if len(reading.errors) > wrong_before else values

    async def result(self, reading: Reading) -> object:
        """Return what the function returns for the request, which it is called for once; None where it can't be."""
        if self.call not in reading.known:
            values = await self.values(reading)
            if values is None:
                return None
            reading.known[self.call] = await self.call(**values)
        return reading.known[self.call]


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"


def handler(found: Dependant) -> Handler:
    """Return what reads all that an operation takes, and calls it; its status and model are described, no more.

    Raises:
        UnknownArgumentError: it takes something that isn't known here, leaves out a part of its address, or doesn't
            return its answer whole.
    """
    operation, takes_body = Arguments(found, of_operation=True), bool(found.body_params)
    unread = get_path_param_names(found.path or "") - operation.placeholders
    if unread:
        raise UnknownArgumentError(f"{_name(operation.call)} reads nothing of {', '.join(unread)} in its address")
    returned = inspect.signature(operation.call, eval_str=True).return_annotation
    if not (isinstance(returned, type) and issubclass(returned, Response)):
        raise UnknownArgumentError(f"{_name(operation.call)} has to return a Response: see shapes.answer")

    async def handle(request: Request) -> Response:
        body = {BODY: await request.json()} if takes_body and await request.body() else {}
        places = {"path": request.path_params, "query": request.query_params, "header": request.headers, "body": body}
        reading = Reading(request, places)
        values = await operation.values(reading)
        if values is None:
            raise RequestValidationError(reading.errors)
        response: Response = await operation.call(**values)
        return response

    return handle
