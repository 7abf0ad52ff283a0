"""Pages that end where enough is written on them: two hundred long texts at once would hold everybody up."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, case, cast, func, literal_column, select

MOST_CHARACTERS: Final = 250_000
"""So much is on a page, besides the row that goes beyond."""


def bounded(query: Select[Any], payload: str, *order: ColumnElement[Any]) -> Select[Any]:
    """Keep a page's rows until enough is written in a column of them, and one more that tells that there are more.

    That one comes without what is written in it: its `payload` is None. `order` is that of the page.
    """
    names = [column.name for column in query.selected_columns]
    length = func.char_length(cast(query.selected_columns[payload], Text)).label("length")
    rows = query.add_columns(length, func.row_number().over(order_by=order).label("place")).subquery("limited")

    def written_before(rows_before: int) -> ColumnElement[int]:
        found = func.sum(rows.c.length).over(order_by=rows.c.place, rows=(None, -rows_before))
        return func.coalesce(found, literal_column("0"))

    counted = select(*rows.c, written_before(1).label("before"), written_before(2).label("long_before"))
    found = counted.subquery("counted")
    most: ColumnElement[Any] = literal_column(str(MOST_CHARACTERS))
    shown = case((found.c.before < most, found.c[payload])).label(payload)
    columns = [shown if name == payload else found.c[name] for name in names]
    return select(*columns).where(found.c.long_before < most).order_by(found.c.place)
