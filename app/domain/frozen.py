"""Frozen values: how one is made from another."""

from typing import TypeVar

T = TypeVar("T")


def replace(value: T, /, **changes: object) -> T:
    """Return a frozen dataclass without slots with some fields changed: `dataclasses.replace` without its long way.

    That calls `__init__` with every field, and a ticket has many.

    Raises:
        TypeError: it has no such field.
    """
    fresh = object.__new__(type(value))
    kept = fresh.__dict__
    kept.update(value.__dict__)
    if not changes.keys() <= kept.keys():
        raise TypeError(f"{type(value).__name__} has no {', '.join(changes.keys() - kept.keys())}")
    kept.update(changes)
    return fresh
