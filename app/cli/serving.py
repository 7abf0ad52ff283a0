"""How the API is served, and how it takes its leave: not ready first, then no new requests, then gone."""

import asyncio
import signal
import time
from types import FrameType
from typing import Final

import uvicorn

from app.main import create_app
from app.settings import Settings

LINGER_SECONDS: Final = 2.0
FINISH_SECONDS: Final = 10


class Server(uvicorn.Server):
    """A server that goes on for a moment when it is told to stop, so that whoever sends requests here can notice."""

    def __init__(self, config: uvicorn.Config, leaving: asyncio.Event, linger: float) -> None:
        """Take what tells the application that it leaves, and for how many seconds it goes on then."""
        super().__init__(config)
        self.leaving, self.linger = leaving, linger
        self.leaves_at: float | None = None

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """Begin to leave; told again, or from a keyboard, leave at once."""
        lingers = self.leaves_at is None and sig == signal.SIGTERM
        self.leaving.set()
        self.force_exit = self.should_exit
        self.leaves_at = time.monotonic() + (self.linger if lingers else 0)

    async def on_tick(self, counter: int) -> bool:
        """Look at the time."""
        self.should_exit = self.leaves_at is not None and time.monotonic() >= self.leaves_at
        return bool(await super().on_tick(counter))


def run(settings: Settings, *, linger: float) -> None:
    """Serve until told to stop, and finish what was begun."""
    app = create_app()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_level=settings.log_level,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    Server(config, app.state.leaving, linger).run()
