"""Both walls between clients: a statement's own condition, and row-level security that the statement opens.

A statement that is about one client says so twice. Its own condition names the client, and its gate tells
the database, which shows a contact's session no other rows, whatever else the statement says. The gate is
a part of the statement, so it costs no round trip, and what it sets is gone with the transaction: with the
statement, as none is begun around a contact's. It guards against what was forgotten, not against somebody
who may write SQL. It names no column, so PostgreSQL looks at it before the rows below it (`One-Time Filter`).
Every level of a query that reads a protected table needs its own.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, and_, cast, func, literal_column, select

CLIENT: Final = "app.client_id"
"""The setting that the policies of the schema compare `client_id` with."""


def opened(client_id: Any) -> ColumnElement[bool]:  # noqa: ANN401  # a value, or the bind in its place
    """Open row-level security for a client: the second wall alone."""
    text = func.coalesce(cast(client_id, Text), literal_column("''"))
    gate = func.set_config(literal_column(f"'{CLIENT}'"), text, literal_column("true"))
    return select(gate).scalar_subquery().is_not(None)


def within(client_id: Any, column: ColumnElement[Any]) -> ColumnElement[bool]:  # noqa: ANN401  # the same
    """Keep a level of a query to one client's rows, by both walls."""
    return and_(opened(client_id), column == client_id)


def narrowed(query: Select[Any], client_id: Any, column: ColumnElement[Any]) -> Select[Any]:  # noqa: ANN401  # the same
    """Keep a level of a query to one client's rows, where it is about one."""
    return query if client_id is None else query.where(within(client_id, column))
