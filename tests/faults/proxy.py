"""The network, as something that can be broken: a TCP proxy that passes on, resets, swallows, or is slow."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Self, TypeAlias

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
AT_ONCE = struct.pack("ii", 1, 0)


class Network(Enum):
    """What becomes of what is sent."""

    WHOLE = "whole"
    CUT = "cut"  # every connection is reset, a new one at once
    BLACK_HOLE = "black hole"  # connections stay and come about, and nothing arrives, either way
    HALF_OPEN = "half open"  # what is asked arrives, what is answered does not


class Proxy:
    """Listens on 127.0.0.1 and passes on to what `dial` reaches, each answer after `delay` seconds.

    A stream that has lost anything stays silent for good, also when the network is whole again: that
    is the worst a network does.
    """

    def __init__(self, dial: Callable[[], Awaitable[Streams]]) -> None:
        self.dial, self.delay, self.port = dial, 0.0, 0
        self.network = Network.WHOLE
        self.whole = asyncio.Event()
        self.whole.set()
        self.links: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for link in self.links:
            link.cancel()
        await asyncio.gather(*self.links, return_exceptions=True)

    def become(self, network: Network) -> None:
        """Break the network, or make it whole."""
        self.network = network
        if network is Network.WHOLE:
            self.whole.set()
        else:
            self.whole.clear()
        if network is Network.CUT:
            for writers in self.links.values():
                _reset(*writers)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self.links[link] = [writer]
        try:
            await self._link(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            _reset(*self.links.pop(link))

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.network is Network.CUT:
            return
        if self.network is Network.BLACK_HOLE:
            while await reader.read(65_536):
                pass
            return
        from_far, to_far = await self.dial()
        for writers in (own for own in self.links.values() if writer in own):
            writers.append(to_far)
        asked = self._pass(reader, to_far, {Network.BLACK_HOLE})
        answered = self._pass(from_far, writer, {Network.BLACK_HOLE, Network.HALF_OPEN}, slow=True)
        # Who has hung up reads no answer: the first end is the end of both.
        ends = [asyncio.ensure_future(end) for end in (asked, answered)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost_in: set[Network], *, slow: bool = False
    ) -> None:
        """Pass on what comes, until something is lost; the end of it, too, arrives by a whole network only."""
        silent = False
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if slow and self.delay:
                    await asyncio.sleep(self.delay)
                silent = silent or self.network in lost_in
                if not silent:
                    writer.write(data)
                    await writer.drain()
        await self.whole.wait()


def _reset(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        writer.transport.abort()
