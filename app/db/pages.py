"""Pages that end where enough is written on them: two hundred long texts at once would hold everybody up."""

from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, literal_column, select

MOST_CHARACTERS: Final = 250_000
"""So much is on a page, besides the row that goes beyond."""


def bounded(query: Select[Any], length: ColumnElement[Any], *order: ColumnElement[Any]) -> Select[Any]:
    """Keep a page's rows until enough is written on them, and one more that tells that there are more.

    `length` is what one row counts for, in characters; `order` that of the page.
    """
    names = [column.name for column in query.selected_columns]
    limited = query.add_columns(length.label("length"), func.row_number().over(order_by=order).label("place"))
    rows = limited.subquery("limited")
    before = func.sum(rows.c.length).over(order_by=rows.c.place, rows=(None, -2))
    counted = select(*rows.c, func.coalesce(before, literal_column("0")).label("before")).subquery("counted")
    has_room = counted.c.before < literal_column(str(MOST_CHARACTERS))
    return select(*(counted.c[name] for name in names)).where(has_room).order_by(counted.c.place)


def fitting(lengths: Iterable[int]) -> int:
    """Return how many of a page's rows are shown: those before which less than enough is written."""
    *before, _total = accumulate(lengths, initial=0)
    return sum(length < MOST_CHARACTERS for length in before)
