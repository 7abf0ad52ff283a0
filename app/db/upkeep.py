"""What the service keeps about itself: secrets, the test clock, the last sweep, the state of the schema."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ClauseElement, delete, literal_column, select, true
from sqlalchemy.dialects.postgresql import insert

from app.db.statements import effect, one
from app.db.tables import secrets, self_checks, sweeps, test_clock


@dataclass(frozen=True, slots=True)
class Secret:
    """Something that only this service's processes know."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Instant:
    """An instant that is kept."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a database says of itself: the schema's revision, by which role, the last sweep, the last self-check."""

    revision: str | None
    role: str
    owner: bool
    superuser: bool
    swept_at: datetime | None
    checked_at: datetime | None
    drift: int | None


@dataclass(frozen=True, slots=True)
class Login:
    """What whoever logged in could do besides: everything, or the house's work."""

    unbounded: bool
    house: bool


@one(Login)
def login() -> ClauseElement:
    """Ask what the login of a session may do, whatever role it works as."""
    own = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user"
    owns = "SELECT FROM pg_class WHERE relname = 'tickets' AND pg_has_role(session_user, relowner, 'MEMBER')"
    return select(
        literal_column(f"(({own}) OR EXISTS ({owns}))").label("unbounded"),
        literal_column("pg_has_role(session_user, 'kawan_runtime', 'MEMBER')").label("house"),
    )


@one(Secret)
def secret(name: str) -> ClauseElement:
    """Find a secret."""
    return select(secrets.c.value).where(secrets.c.name == name)


@effect
def add_secret(name: str, value: bytes) -> ClauseElement:
    """Store a secret, unless another process was first."""
    return insert(secrets).values(name=name, value=value).on_conflict_do_nothing().returning(secrets.c.name)


@one(Instant)
def test_now() -> ClauseElement:
    """Find the instant that the test clock shows."""
    return select(test_clock.c.now.label("at"))


@effect
def set_test_now(at: datetime) -> ClauseElement:
    """Set the test clock."""
    put = insert(test_clock).values(singleton=true(), now=at)
    return put.on_conflict_do_update(index_elements=["singleton"], set_={"now": put.excluded.now}).returning(
        test_clock.c.singleton
    )


@effect
def clear_test_now() -> ClauseElement:
    """Go back to real time."""
    return delete(test_clock).returning(test_clock.c.singleton)


@effect
def swept(at: datetime) -> ClauseElement:
    """Note when a sweep ended."""
    put = insert(sweeps).values(singleton=true(), finished_at=at)
    fresh = {"finished_at": put.excluded.finished_at}
    return put.on_conflict_do_update(index_elements=["singleton"], set_=fresh).returning(sweeps.c.singleton)


@effect
def checked(at: datetime, tickets: int, drift: int) -> ClauseElement:
    """Note what a self-check found."""
    put = insert(self_checks).values(singleton=true(), finished_at=at, tickets=tickets, drift=drift)
    fresh = {name: put.excluded[name] for name in ("finished_at", "tickets", "drift")}
    return put.on_conflict_do_update(index_elements=["singleton"], set_=fresh).returning(self_checks.c.singleton)


@one(Readiness)
def readiness() -> ClauseElement:
    """Ask what serving requests rests on."""
    return select(
        literal_column("(SELECT version_num FROM alembic_version)").label("revision"),
        literal_column("current_user").label("role"),
        literal_column(
            "EXISTS (SELECT FROM pg_class WHERE relname = 'tickets' AND pg_get_userbyid(relowner) = current_user)"
        ).label("owner"),
        literal_column("(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)").label("superuser"),
        select(sweeps.c.finished_at).scalar_subquery().label("swept_at"),
        select(self_checks.c.finished_at).scalar_subquery().label("checked_at"),
        select(self_checks.c.drift).scalar_subquery().label("drift"),
    )
