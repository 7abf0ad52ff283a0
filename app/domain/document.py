"""Reading documents written by people, field by field, so that every error is told at once."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from app.domain.errors import FieldError, InvalidDocumentError

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")
F = TypeVar("F")

MOST_ITEMS = 100
LONGEST_FIELD = 64
"""A field name of the input is repeated in a pointer, cut at this length."""


class Reader:
    """Collects what is wrong with a document; each reading method returns a value to go on with."""

    def __init__(self) -> None:
        """Start without errors."""
        self.errors: list[FieldError] = []

    def refuse(self, pointer: str, code: str, message: str) -> None:
        """Note that the field at `pointer` is wrong."""
        self.errors.append(FieldError(pointer, code, message))

    def finish(self) -> None:
        """Raise everything noted.

        Raises:
            InvalidDocumentError: when anything was refused.
        """
        if self.errors:
            raise InvalidDocumentError(self.errors)

    def table(self, value: object, pointer: str, required: Sequence[str], optional: Sequence[str] = ()) -> "Table":
        """Read an object with exactly these fields; what is missing or unknown is refused."""
        found = value if isinstance(value, Mapping) else {}
        if not isinstance(value, Mapping):
            self.refuse(pointer, "wrong_type", f"give an object with {', '.join(required) or 'named fields'}")
        else:
            for name in sorted(set(map(str, found)) - {*required, *optional}):
                known = ", ".join([*required, *optional])
                self.refuse(f"{pointer}/{_escaped(name)}", "unknown_field", f"the fields here are {known}")
            for name in required:
                if name not in found:
                    self.refuse(f"{pointer}/{name}", "missing", "this field is required")
        return Table(self, {str(key): item for key, item in found.items()}, pointer)


def _escaped(name: str) -> str:
    """Write a field name as a step of a JSON pointer."""
    return name[:LONGEST_FIELD].replace("~", "~0").replace("/", "~1")


class Table:
    """One object of a document; an absent field reads as the fallback and is not refused again."""

    def __init__(self, reader: Reader, fields: Mapping[str, object], pointer: str) -> None:
        """Wrap the fields of the object at `pointer`."""
        self.reader, self.fields, self.pointer = reader, fields, pointer

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def read(self, name: str, read: Callable[[object, str], T], fallback: F) -> T | F:
        """Read a field by a function of its value and pointer."""
        return read(self.fields[name], f"{self.pointer}/{name}") if name in self.fields else fallback

    def text(self, name: str, most: int = 2_000) -> str:
        """Read a text of 1 to `most` characters."""
        return self._text(self.fields.get(name, "-"), f"{self.pointer}/{name}", most)

    def texts(self, name: str, most: int = 2_000) -> tuple[str, ...]:
        """Read a list of texts of 1 to `most` characters each; absent is empty."""
        return tuple(self._text(item, pointer, most) for item, pointer in self.items(name))

    def _text(self, value: object, pointer: str, most: int) -> str:
        if isinstance(value, str) and value.strip() and len(value) <= most:
            return value
        self.reader.refuse(pointer, "wrong_text", f"give a text of 1 to {most} characters")
        return "-"

    def integer(self, name: str, least: int, most: int) -> int:
        """Read a whole number from `least` to `most`."""
        return self.read(name, lambda value, pointer: self._integer(value, pointer, least, most), least)

    def _integer(self, value: object, pointer: str, least: int, most: int) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.reader.refuse(pointer, "out_of_range", f"give a whole number from {least} to {most}")
        return least

    def flag(self, name: str) -> bool:
        """Read true or false; absent is false."""
        value = self.fields.get(name, False)
        if not isinstance(value, bool):
            self.reader.refuse(f"{self.pointer}/{name}", "wrong_type", "give true or false")
        return value is True

    def items(self, name: str) -> list[tuple[object, str]]:
        """Read a list as its items, each with its pointer; absent is empty."""
        value = self.fields.get(name, ())
        if isinstance(value, Sequence) and not isinstance(value, str):
            if len(value) > MOST_ITEMS:
                self.reader.refuse(f"{self.pointer}/{name}", "too_many", f"at most {MOST_ITEMS} items")
                return []
            return [(item, f"{self.pointer}/{name}/{index}") for index, item in enumerate(value)]
        self.reader.refuse(f"{self.pointer}/{name}", "wrong_type", "give a list")
        return []

    def choice(self, name: str, choices: type[E]) -> E:
        """Read one value of an enum."""
        return self.read(name, lambda value, pointer: self._choice(value, pointer, choices), next(iter(choices)))

    def choices(self, name: str, choices: type[E]) -> tuple[E, ...]:
        """Read a list of values of an enum."""
        return tuple(self._choice(item, pointer, choices) for item, pointer in self.items(name))

    def _choice(self, value: object, pointer: str, choices: type[E]) -> E:
        if isinstance(value, str) and value in list(choices):
            return choices(value)
        self.reader.refuse(pointer, "unknown_value", f"choose one of {', '.join(choices)}")
        return next(iter(choices))
