"""Public holidays from the `holidays` package, as dated exceptions that are stored once and then ours."""

from collections.abc import Iterable

import holidays

from app.domain.hours import DateException
from app.domain.policy import Holidays


def exceptions(of: Holidays, years: Iterable[int]) -> tuple[DateException, ...]:
    """Return the closed days of a country's part in some years, estimated ones marked in their name."""
    found = holidays.country_holidays(of.country, subdiv=of.subdivision, years=list(years), language="en_US")
    return tuple(DateException(day, name) for day, name in sorted(found.items()))
