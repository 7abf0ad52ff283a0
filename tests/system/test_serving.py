"""How the API takes its leave: not ready first, and gone a moment later."""

import asyncio
import signal

import pytest
import uvicorn

from app.cli.serving import Server
from tests.api.conftest import Desk, app, desk, published  # noqa: F401  # fixtures


def server(leaving: asyncio.Event, linger: float) -> Server:
    return Server(uvicorn.Config("nothing:here"), leaving, linger)


async def test_told_to_stop_it_says_so_and_goes_on_for_a_moment() -> None:
    leaving = asyncio.Event()
    found = server(leaving, 0.05)
    assert not await found.on_tick(1)
    found.handle_exit(signal.SIGTERM, None)
    assert leaving.is_set()
    assert not await found.on_tick(1)
    await asyncio.sleep(0.06)
    assert await found.on_tick(1)


@pytest.mark.parametrize("told", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]], ids=["keyboard", "twice"])
async def test_from_a_keyboard_or_told_twice_it_goes_at_once(told: list[int]) -> None:
    found = server(asyncio.Event(), 60)
    for number in told:
        found.handle_exit(number, None)
    assert await found.on_tick(1)


async def test_told_again_while_it_finishes_it_waits_for_nobody() -> None:
    found = server(asyncio.Event(), 0)
    found.handle_exit(signal.SIGINT, None)
    assert await found.on_tick(1)
    assert not found.force_exit
    found.handle_exit(signal.SIGINT, None)
    assert found.force_exit


async def test_who_leaves_is_not_ready_and_closes_the_connection_after_each_answer(desk: Desk) -> None:  # noqa: F811  # the fixture
    leaving = desk.http._transport.app.state.leaving
    before = await desk.http.get("/readyz")
    leaving.set()
    try:
        after = await desk.http.get("/readyz")
    finally:
        leaving.clear()
    assert (before.status_code, "Connection" in before.headers) == (200, False)
    assert (after.status_code, after.json()["ready"], after.headers["Connection"]) == (503, False, "close")
