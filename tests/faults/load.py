"""Clients that mean it: each opens tickets under keys of its own, asks again where no answer came, and keeps count."""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx

from tests.faults.processes import Api, Database

PAUSE = 0.05
PATIENCE = 30


class Tally:
    """What was asked and what came of it."""

    def __init__(self) -> None:
        self.subjects: set[str] = set()
        self.acknowledged: set[tuple[str, str]] = set()
        self.statuses: Counter[int | str] = Counter()
        self.failed_at: list[float] = []
        self.slowest = 0.0
        self.wrong: list[str] = []

    async def ask(self, http: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response | None:
        """Ask once; None where nobody answers."""
        began = time.monotonic()
        try:
            response = await http.request(method, path, **more)
        except httpx.TransportError as error:
            self.statuses[type(error).__name__] += 1
            self.failed_at.append(began)
            return None
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.statuses[response.status_code] += 1
        if response.status_code >= 500:
            self.failed_at.append(began)
            if response.status_code != 503 or "Retry-After" not in response.headers:
                self.wrong.append(f"{response.status_code} {response.text[:200]}")
        return response

    async def compared(self, database: Database) -> tuple[int, int]:
        """How many acknowledged tickets are lost, and how many there are twice."""
        rows = await database.ask("SELECT subject, id::text FROM tickets WHERE subject = ANY($1)", [*self.subjects])
        found = {(row["subject"], row["id"]) for row in rows}
        return len(self.acknowledged - found), len(found) - len({subject for subject, _ in found})


class Writers:
    """Opens tickets over HTTP until each is acknowledged; a subject is a key, so that a second ticket is seen."""

    def __init__(self, api: Api, body: dict[str, Any]) -> None:
        self.api, self.body, self.tally = api, body, Tally()

    @asynccontextmanager
    async def busy(self, writers: int = 8) -> AsyncIterator[Tally]:
        """Write while something happens, and finish what was begun."""
        going = asyncio.Event()
        going.set()
        tasks = [asyncio.create_task(self._write(going)) for _ in range(writers)]
        try:
            yield self.tally
        finally:
            going.clear()
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*tasks)

    async def _write(self, going: asyncio.Event) -> None:
        while going.is_set():
            await self.open(str(uuid4()), self.api.http)

    async def open(self, subject: str, *ways: httpx.AsyncClient, keyed: bool = True) -> str | None:
        """Open one ticket by one way after the other, then by the last, until somebody says that it is there."""
        self.tally.subjects.add(subject)
        headers = self.api.headers("standard") | ({"Idempotency-Key": subject.replace(" ", "-")} if keyed else {})
        for http in itertools.chain(ways, itertools.repeat(ways[-1])):
            body = self.body | {"subject": subject}
            response = await self.tally.ask(http, "POST", "/v1/tickets", json=body, headers=headers)
            if response is not None and response.status_code == 201:
                found: str = response.json()["id"]
                self.tally.acknowledged.add((subject, found))
                return found
            if response is not None and response.status_code not in {409, 503}:
                break
            await asyncio.sleep(PAUSE)
        return None


@asynccontextmanager
async def liar(status: int, retry_after: str = "") -> AsyncIterator[int]:
    """A server that gives one answer to everything, and does nothing."""

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                body = b'{"id": "%s"}' % str(uuid4()).encode()
                writer.write(
                    b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n" % (status, retry_after.encode(), len(body))
                )
                writer.write(body)
        writer.close()

    server = await asyncio.start_server(lie, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
