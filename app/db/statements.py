"""The only way to the database: Core statements compiled once, run on asyncpg as they are.

A statement is declared as a function of typed arguments that returns a Core statement, and called
with the same arguments. Before it first runs it is called with bind parameters in place of
the values; what would go wrong later (lists that expand, defaults made in Python, values pasted
into text, columns that don't fit) is refused then, and a test compiles every one of them.
"""

import inspect
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from types import NoneType, UnionType
from typing import (
    Any,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

import asyncpg
from pydantic_core import from_json
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ClauseElement,
    Date,
    DateTime,
    Dialect,
    LargeBinary,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import asyncpg as dialects
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from app.db.tables import Shaped, TextEnum

P = ParamSpec("P")
T = TypeVar("T")
Row = TypeVar("Row")

DIALECT: Final[Dialect] = dialects.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
UNAVAILABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    # What the driver says of a connection that ends between two messages of one statement.
    asyncpg.InternalClientError,
)
TYPES: Final[Mapping[type, TypeEngine[Any]]] = {
    UUID: Uuid(),
    bool: Boolean(),
    int: BigInteger(),
    datetime: DateTime(timezone=True),
    date: Date(),
    bytes: LargeBinary(),
}


class Connection(Protocol):
    """What a statement needs of a pool, or of a connection in a transaction."""

    def fetch(self, query: str, *args: object) -> Awaitable[list[Any]]:
        """Run a statement and return its records."""


class DatabaseUnavailableError(Exception):
    """The database can't be reached, or didn't answer in time; the same call may go through later."""


class SchemaBehindError(DatabaseUnavailableError):
    """The schema lacks what this version of the code needs; there the migrations have yet to run."""


class LockTimeoutError(DatabaseUnavailableError):
    """Somebody else holds a row, or is writing under the same key, for too long."""


class ConstraintError(Exception):
    """A write would break a constraint of the schema; `name` says which, and nothing was written."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Narrowing:
    """Marks a dataclass whose fields narrow a statement: one that is None leaves no trace in it."""


class StatementError(Exception):
    """A statement is declared in a way that would go wrong when it runs."""


class Bind(BindParameter[Any]):
    """A bind parameter that can't be pasted into text by an f-string."""

    inherit_cache = True

    def __format__(self, _spec: str) -> str:
        raise StatementError(f"the value of {self.key!r} must not become part of a statement's text")


class Statement(Generic[P, T]):
    """A statement with its text per set of absent arguments; called with a connection and the arguments."""

    def __init__(
        self,
        declare: Callable[P, ClauseElement],
        read: Callable[[list[Any]], T],
        row: type | None,
        hints: Mapping[str, Any] | None = None,
    ) -> None:
        """Read the arguments; `hints` give the types of the arguments where the function's own aren't known yet."""
        self.declare: Any = declare
        self.read = read
        self.row = row
        self.__doc__ = declare.__doc__
        self.names = tuple(inspect.signature(declare).parameters)
        known = {**get_type_hints(declare), **(hints or {})}
        self.hints = {name: known[name] for name in self.names}
        self.optional = {path: _at(path) for name, hint in self.hints.items() for path in _optional(name, hint)}
        # Compiled when first asked for, as all of them together are a good part of a start.
        self.variants: dict[frozenset[str], Compiled] = {}

    def variant(self, absent: frozenset[str]) -> "Compiled":
        """Return the statement as it is without some of its optional arguments."""
        if absent not in self.variants:
            binds = {name: None if name in absent else _bind(name, hint, absent) for name, hint in self.hints.items()}
            self.variants[absent] = Compiled(self.declare(**binds), self.row)
        return self.variants[absent]

    async def __call__(self, via: Connection, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the statement.

        Raises:
            DatabaseUnavailableError: no connection, or no answer in time.
            ConstraintError: a constraint refused the write.
        """
        values = dict(zip(self.names, args, strict=False)) | kwargs
        if len(args) + len(kwargs) != len(self.names) or len(values) != len(self.names):
            raise TypeError(f"a statement takes {self.names}, each once")
        absent = frozenset([path for path, value in self.optional.items() if value(values) is None])
        compiled = self.variants.get(absent) or self.variant(absent)
        rows = await answered(via.fetch(compiled.text, *[value(values) for value in compiled.values]))
        return self.read(compiled.rows(rows))


class Compiled:
    """One text of a statement, how its values are taken from the arguments, how its rows are read."""

    def __init__(self, statement: ClauseElement, row: type | None) -> None:
        compiled = statement.compile(dialect=DIALECT)
        if not isinstance(compiled, SQLCompiler):
            raise StatementError("a statement has to be SQL")
        if compiled.insert_prefetch or compiled.update_prefetch:
            raise StatementError("a default made in Python would be stored as NULL")
        if compiled.post_compile_params:
            raise StatementError("a list that expands can't be compiled once; use = ANY")
        self.text = compiled.string
        self.values = [_value(compiled.binds[name]) for name in compiled.positiontup or ()]
        columns = [] if row is None else compiled._result_columns  # noqa: SLF001  # the one place where the columns' types stand
        wanted = {} if row is None else get_type_hints(row)
        self.make = row
        # A row that wants the text of an enum has it as it is stored.
        self.readers = [
            (place, column.type.read)
            for place, column in enumerate(columns)
            if isinstance(column.type, TextEnum | Shaped) and _required(wanted.get(column.keyname)) is not str
        ]
        if row is not None:
            expected, found = list(inspect.signature(row).parameters), [column.keyname for column in columns]
            if expected != found:
                raise StatementError(f"{row.__name__} takes {expected}, the statement returns {found}")

    def rows(self, records: Sequence[asyncpg.Record]) -> list[Any]:
        """Return the records as rows of the declared type."""
        if self.make is None:
            return list(records)
        return [self._row(list(record)) for record in records]

    def _row(self, values: list[Any]) -> Any:  # noqa: ANN401  # the declared type
        for place, read in self.readers:
            if values[place] is not None:
                values[place] = read(values[place])
        return self.make(*values) if self.make else values


def first(rows: list[T]) -> T | None:
    """Return the first row or None."""
    return rows[0] if rows else None


def one(row: type[Row]) -> Callable[[Callable[P, ClauseElement]], Statement[P, Row | None]]:
    """Declare a statement that returns one row or none."""
    return lambda declare: Statement(declare, first, row)


def many(row: type[Row]) -> Callable[[Callable[P, ClauseElement]], Statement[P, list[Row]]]:
    """Declare a statement that returns rows."""
    return lambda declare: Statement(declare, list, row)


def scalar(kind: type[T]) -> Callable[[Callable[P, ClauseElement]], Statement[P, T]]:  # noqa: ARG001  # for the type alone
    """Declare a statement that returns one value, always."""
    return lambda declare: Statement(declare, lambda rows: rows[0][0], None)


def effect(declare: Callable[P, ClauseElement]) -> Statement[P, bool]:
    """Declare a statement that returns a row exactly when it had its effect."""
    return Statement(declare, bool, None)


async def answered(waiting: Awaitable[T]) -> T:
    """Wait for the database, and say in our own words what went wrong.

    How long is for the pool to say, of a connection and of each statement; a request has its own end besides.
    """
    with in_our_words():
        return await waiting


@contextmanager
def in_our_words() -> Iterator[None]:
    """Say what went wrong with the database by errors of ours.

    Raises:
        DatabaseUnavailableError: no connection, or no answer in time.
        ConstraintError: a constraint refused the write.
    """
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise ConstraintError(error.constraint_name or "") from error
    except asyncpg.LockNotAvailableError as error:
        raise LockTimeoutError("another request holds the same row") from error
    except asyncpg.QueryCanceledError as error:
        raise DatabaseUnavailableError("the database took too long") from error
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        raise SchemaBehindError("the schema lacks what this version needs") from error
    except UNAVAILABLE as error:
        raise DatabaseUnavailableError("the database cannot be reached") from error


def _plain(value: object) -> object:
    """Write what JSON has no word for: instants and dates in ISO 8601, amounts of time in seconds."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, timedelta):
        return value // timedelta(seconds=1)
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")


encode: Final = json.JSONEncoder(default=_plain, separators=(",", ":")).encode
"""Writes a value for a JSONB column."""
decode: Final = from_json


def _optional(name: str, hint: Any) -> list[str]:  # noqa: ANN401  # hints are what they are
    """Return the paths of what may be absent of an argument."""
    if isinstance(hint, type) and is_dataclass(hint) and issubclass(hint, Narrowing):
        return [f"{name}.{field.name}" for field in fields(hint)]
    return [name] if NoneType in get_args(hint) else []


Taken: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""Takes one value from the arguments of a statement."""


def _at(path: str) -> Taken:
    """Return how what a path names is taken from the arguments."""
    name, _, field = path.partition(".")
    return (lambda values: getattr(values[name], field)) if field else (lambda values: values.get(name))


def _bind(name: str, hint: Any, absent: frozenset[str]) -> Any:  # noqa: ANN401  # hints are what they are
    """Return what stands for an argument: a bind, or a dataclass with a bind in every field."""
    kind = _required(hint)
    if isinstance(kind, type) and is_dataclass(kind):
        hints, paths = get_type_hints(kind), {field.name: f"{name}.{field.name}" for field in fields(kind)}
        return kind(
            **{own: None if path in absent else Bind(path, type_=_type(hints[own])) for own, path in paths.items()}
        )
    return Bind(name, type_=_type(kind))


def _type(hint: Any) -> TypeEngine[Any]:  # noqa: ANN401  # hints are what they are
    kind = _required(hint)
    if get_origin(kind) is Sequence and get_args(kind)[0] in {str, UUID}:
        return ARRAY(_type(get_args(kind)[0]))
    if isinstance(kind, type):
        if issubclass(kind, str):
            return Text()
        if kind in TYPES:
            return TYPES[kind]
    return JSONB(none_as_null=True)


def _required(hint: Any) -> Any:  # noqa: ANN401  # hints are what they are
    """Return the type that is left when None is taken out of a union."""
    if get_origin(hint) in {Union, UnionType}:
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        return kinds[0] if len(kinds) == 1 else hint
    return hint


def _value(bind: BindParameter[Any]) -> Taken:
    """Return how the value of a bind is taken from the arguments; a constant is its own."""
    if not isinstance(bind, Bind):
        constant = bind.value
        return lambda _arguments: constant
    return _at(str(bind.key))
