"""Whatever isn't known of what an operation takes stops the start, and says what to do."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Cookie, Depends, Header, Query
from fastapi.dependencies.utils import get_dependant
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.arguments import UnknownArgumentError, handler
from app.api.front_door import Route


class Sent(BaseModel):
    """A body."""

    text: str


def synchronous() -> Response: ...


async def of_a_cookie(crumb: Annotated[str, Cookie()]) -> Response: ...


async def of_a_response(response: Response) -> Response: ...


async def of_a_list(names: Annotated[list[str], Query()]) -> Response: ...


async def of_headers(names: Annotated[list[str], Header()]) -> Response: ...


async def of_a_model(narrowed: Annotated[Sent, Query()]) -> Response: ...


async def of_two_names(name: Annotated[str, Query(validation_alias="other")]) -> Response: ...


async def of_a_default_that_is_made(name: Annotated[str, Query(default_factory=str)]) -> Response: ...


async def of_a_default_to_check(name: Annotated[str, Field(validate_default=True)] = "a") -> Response: ...


async def of_two_bodies(one: Sent, two: Annotated[Sent, Body()]) -> Response: ...


async def of_a_part_of_the_body(one: Annotated[Sent, Body(embed=True)]) -> Response: ...


async def that_returns_a_model() -> Sent: ...


async def sent(body: Sent) -> Sent:
    return body


async def yielded(request: Request) -> AsyncIterator[Request]:
    yield request


async def of_a_body_below(found: Annotated[Sent, Depends(sent)]) -> Response: ...


async def of_a_generator(found: Annotated[Request, Depends(yielded)]) -> Response: ...


async def counted() -> int: ...


async def of_what_is_not_remembered(found: Annotated[int, Depends(counted, use_cache=False)]) -> Response: ...


@pytest.mark.parametrize(
    ("operation", "advice"),
    [
        (synchronous, "write .*synchronous as async def"),
        (of_a_cookie, "of_a_cookie takes a cookie"),
        (of_a_response, "of_a_response takes a response to change"),
        (of_a_list, "of_a_list: names has to be a single value"),
        (of_headers, "of_headers: names has to be a single value"),
        (of_a_model, "of_a_model: narrowed has to be a single value"),
        (of_two_names, "of_two_names: name has to have one name"),
        (of_a_default_that_is_made, "name has to have a plain default"),
        (of_a_default_to_check, "name has to have a plain default"),
        (of_two_bodies, "of_two_bodies takes a body too much"),
        (of_a_part_of_the_body, "one has to be the whole body, as JSON"),
        (that_returns_a_model, "that_returns_a_model has to return a Response: see shapes.answer"),
        (of_a_body_below, "sent takes a body too much"),
        (of_what_is_not_remembered, "counted is called once for a request"),
        (of_a_generator, "write .*yielded as async def, without yield"),
    ],
)
def test_what_is_not_known_stops_the_start(operation: Callable[..., Any], advice: str) -> None:
    with pytest.raises(UnknownArgumentError, match=advice):
        APIRouter(route_class=Route).post("/here")(operation)


def test_a_part_of_the_address_that_nobody_reads_stops_the_start() -> None:
    async def found(ticket_id: str) -> Response: ...

    with pytest.raises(UnknownArgumentError, match="reads nothing of id in its address"):
        APIRouter(route_class=Route).get("/tickets/{id}")(found)


async def test_nothing_is_called_whose_own_dependency_was_refused() -> None:
    called = list[str]()

    async def shared(number: int) -> int:
        called.append("shared")
        return number

    async def first(found: Annotated[int, Depends(shared)]) -> int:
        called.append("first")
        return found

    async def second(found: Annotated[int, Depends(shared)]) -> int:
        called.append("second")
        return found

    async def operation(one: Annotated[int, Depends(first)], other: Annotated[int, Depends(second)]) -> Response:
        return Response(f"{one} {other}")

    handle = handler(get_dependant(path="/", call=operation))

    def asked(query: bytes) -> Request:
        return Request({"type": "http", "method": "GET", "headers": [], "path_params": {}, "query_string": query})

    with pytest.raises(RequestValidationError) as refused:
        await handle(asked(b"number=x"))
    assert {error["loc"] for error in refused.value.errors()} == {("query", "number")}
    assert called == []
    assert (await handle(asked(b"number=7"))).body == b"7 7"
    assert called == ["shared", "first", "second"]
