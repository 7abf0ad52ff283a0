"""The second wall between clients: row-level security, opened for one client by each statement itself.

A statement that is about one client says so twice. Its own condition names the client, and its gate tells
the database, which shows a contact's session no other rows, whatever else the statement says. The gate is
a part of the statement, so it costs no round trip, and what it sets is gone with the statement. It names
no column, so PostgreSQL looks at it before the rows below it (`One-Time Filter`). Every level of a query
that reads a protected table needs its own.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, and_, cast, func, literal_column, select

CLIENT: Final = "app.client_id"
"""The setting that the policies of the schema compare `client_id` with."""


def opened(client_id: Any) -> ColumnElement[bool]:  # noqa: ANN401  # a value, or the bind in its place
    """Open the wall for a client, for this statement only."""
    text = func.coalesce(cast(client_id, Text), literal_column("''"))
    gate = func.set_config(literal_column(f"'{CLIENT}'"), text, literal_column("true"))
    return select(gate).scalar_subquery().is_not(None)


def within(client_id: Any, column: ColumnElement[Any]) -> ColumnElement[bool]:  # noqa: ANN401  # the same
    """Keep a level of a query to one client's rows."""
    return and_(opened(client_id), column == client_id)


def narrowed(query: Select[Any], client_id: Any, column: ColumnElement[Any]) -> Select[Any]:  # noqa: ANN401  # the same
    """Keep a level of a query to one client's rows, where it is about one."""
    return query if client_id is None else query.where(within(client_id, column))
