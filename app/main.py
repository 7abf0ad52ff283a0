"""Puts the application together: the only module that knows all others."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from secrets import token_bytes
from typing import Any, Final

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline

from app.api import (
    audit,
    calendar_exceptions,
    calendars,
    clients,
    description,
    eligibility,
    keys,
    policies,
    portal,
    staff,
    system,
    ticket_endings,
    ticket_levels,
    ticket_talk,
    ticket_triage,
    tickets,
)
from app.api.deps import Allowed, Runtime, everybody
from app.api.errors import HANDLERS
from app.api.front_door import Compressed, Methods, RequestId, Route
from app.db import migrations, seal, upkeep
from app.db import pool as pools
from app.db.lease import Lease
from app.db.policies import Book
from app.db.pool import Pool
from app.outside import identity
from app.outside.identity import Issuer, Issuers, People
from app.outside.limits import Limits
from app.settings import Settings, Trusted
from app.worker import sweep

# Routes are tried one by one: the busiest come first.
ROUTERS: Final = (
    tickets.router,
    ticket_talk.router,
    eligibility.router,
    ticket_triage.router,
    ticket_levels.router,
    ticket_endings.router,
    calendars.router,
    calendar_exceptions.router,
    policies.router,
    clients.router,
    staff.router,
    keys.router,
    audit.router,
    portal.router,
    system.router,
)
EXPOSED: Final = (
    *("ETag", "Location", "Link", "X-Request-Id", "Idempotency-Replayed"),
    *("Retry-After", "RateLimit", "RateLimit-Policy"),
)
NO_PAGES: Final[dict[str, Any]] = {"docs_url": None, "redoc_url": None}
NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application.

    Raises:
        UndeclaredOperationError: an operation doesn't say who may call it.
    """
    found = settings or Settings()
    framework, pages = (FastAPIOffline, {"redoc_url": None}) if found.serves_docs else (FastAPI, NO_PAGES)
    app: FastAPI = framework(
        redirect_slashes=False, lifespan=_lifespan(found), telemetry=NO_TELEMETRY, **pages, **description.ABOUT
    )
    routers = (*ROUTERS, system.test_router) if found.test_clock else ROUTERS
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    require_declared(routes)
    # As they are: a router included as a router is looked through route by route in up to three times the time.
    app.router.routes.extend(routes)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(Methods, routes=routes)
    app.add_middleware(Compressed, minimum_size=1_000)
    app.add_middleware(RequestId)
    if found.cors_origins:
        origins = [origin.strip() for origin in found.cors_origins.split(",")]
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], expose_headers=EXPOSED
        )
    app.state.leaving = asyncio.Event()
    app.openapi = description.of(app)  # type: ignore[method-assign]  # the framework's documented way: put another in this method's place
    return app


class UndeclaredOperationError(Exception):
    """An operation that doesn't declare who may call it, or with which scope: nothing is open by oversight."""


def require_declared(routes: Sequence[APIRoute]) -> None:
    """See that each operation declares its roles and its area, or that everybody may call it.

    Raises:
        UndeclaredOperationError: naming every operation that doesn't.
    """
    undeclared = [
        route.name
        for route in routes
        for declared in [set(_declared(route.dependant))]
        if not isinstance(route, Route)
        or ((Allowed not in declared or route.needs is None) and everybody not in declared)
    ]
    if undeclared:
        raise UndeclaredOperationError(f"say who may call {', '.join(undeclared)}, and with which scope")


def _declared(dependency: Any) -> Iterator[Any]:  # noqa: ANN401  # the framework's own
    """Yield what a route depends on, at any depth: a declaration of roles by its kind, anything else as itself."""
    yield Allowed if isinstance(dependency.call, Allowed) else dependency.call
    for deeper in dependency.dependencies:
        yield from _declared(deeper)


def _lifespan(settings: Settings) -> Any:  # noqa: ANN401  # what the framework takes
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            pool = await pools.connect(settings.required_database_url, size=settings.pool_size)
            opened.push_async_callback(pools.close, pool)
            contact_pool = await pools.connect(settings.contacts_url, size=settings.pool_size, role=pools.CONTACT)
            opened.push_async_callback(pools.close, contact_pool)
            http = await opened.enter_async_context(identity.client())
            limits = Limits(settings.requests, max(1, settings.pool_size // 2), settings.rate_limit_storage)
            opened.push_async_callback(limits.close)
            app.state.runtime = Runtime(
                pool=pool,
                contact_pool=contact_pool,
                bearers=Lease(),
                book=Book(pool),
                cursor_secret=await _secret(pool, "cursors"),
                issuers=Issuers((_believed(issuer) for issuer in settings.issuers), http),
                limits=limits,
                audit_keys=seal.public_keys(settings.audit_public_keys),
                test_clock=settings.test_clock,
                sweep=sweep.run,
                behind=migrations.behind(),
            )
            yield

    return lifespan


def _believed(found: Trusted) -> Issuer:
    """Take an issuer as the settings have it."""
    return Issuer(found.issuer, found.audience, People(found.people), found.algorithms, found.jwks_url)


async def _secret(pool: Pool, name: str) -> bytes:
    """Read a secret that all processes on a database share, made by the first of them."""
    await upkeep.add_secret(pool, name, token_bytes(32))
    kept = await upkeep.secret(pool, name)
    if kept is None:
        raise RuntimeError(f"the secret {name} was not kept")
    return kept.value
