"""The JSON shapes that several resources share, and how an answer is written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, TypeAlias, TypeVar, dataclass_transform
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema
from starlette.responses import Response

from app.api import errors
from app.domain.calendar import FIRST_INSTANT, LAST_INSTANT, SegmentKind
from app.domain.errors import FieldError
from app.domain.events import rfc3339
from app.domain.hours import FIRST_DATE, LAST_DATE

Body = TypeVar("Body")
RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
CONTROLS: Final = re.compile("[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]")
ONE_LINE: Final = re.compile("[\u0000-\u001f\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        raise ValueError(
            "write an instant as RFC 3339 with an offset, such as 2026-01-05T10:00:00+08:00 (in an address: %2B08:00)"
        )
    try:
        at = datetime.fromisoformat(value.upper())
        in_range = FIRST_INSTANT <= at <= LAST_INSTANT
    except (ValueError, OverflowError):
        raise ValueError("this date or time does not exist") from None
    if not in_range:
        raise ValueError("give an instant between 2000-01-01 and 2100-01-01 UTC")
    return at.astimezone(UTC)


def _plain(text: str) -> str:
    if CONTROLS.search(text):
        raise ValueError("a text may hold no control characters other than tabs and line ends")
    return text


def _prose(text: str) -> str:
    _plain(text)
    if not text.strip():
        raise ValueError("write something")
    return text


def _line(text: str) -> str:
    if ONE_LINE.search(text):
        raise ValueError("a line may hold no line ends, control or direction characters")
    return _prose(text)


Instant: TypeAlias = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An instant that comes in, RFC 3339 with an offset: of UTC from here on. One that goes out is a `datetime`."""

Line: TypeAlias = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_line)]
Prose: TypeAlias = Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(_prose)]
ShortProse: TypeAlias = Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(_prose)]
ExternalId: TypeAlias = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_line)]
Flag: TypeAlias = Annotated[bool, Field(strict=True)]
Number: TypeAlias = Annotated[int, Field(strict=True)]


def _unwritten(value: object) -> object:
    """Take an empty text as none: what is missing is warned of, not refused."""
    return None if isinstance(value, str) and not value.strip() and not CONTROLS.search(value) else value


def _day(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        raise ValueError("write a date as YYYY-MM-DD")
    if not isinstance(value, str | date):
        raise ValueError("write a date as YYYY-MM-DD")  # noqa: TRY004  # a ValueError is what becomes a 422
    return value


def _known_day(value: date) -> date:
    if not FIRST_DATE <= value <= LAST_DATE:
        raise ValueError("give a date between 2000-01-01 and 2099-12-31")
    return value


Unwritten: TypeAlias = Annotated[
    ShortProse | None,
    BeforeValidator(_unwritten),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": 2_000}, {"type": "null"}]}),
]
"""A text that may be left empty: that is none."""

UnwrittenLine: TypeAlias = Annotated[
    Line | None,
    BeforeValidator(_unwritten),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": 200}, {"type": "null"}]}),
]

UnwrittenProse: TypeAlias = Annotated[
    Prose | None,
    BeforeValidator(_unwritten),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": 20_000}, {"type": "null"}]}),
]

Draft: TypeAlias = Annotated[str, Field(max_length=20_000), AfterValidator(_plain)]
"""A text as far as it is written."""

Day: TypeAlias = Annotated[date, BeforeValidator(_day), AfterValidator(_known_day)]
Email: TypeAlias = Annotated[
    str, Field(min_length=3, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$"), AfterValidator(_line)
]
Phone: TypeAlias = Annotated[str, Field(pattern=r"^[+(]?[0-9][0-9() ./-]{1,47}[0-9]$")]


class Given(BaseModel):
    """A body that comes in: fields that aren't known are refused."""

    model_config = ConfigDict(extra="forbid")


@dataclass_transform(kw_only_default=True, eq_default=False)
class Told:
    """A body that goes out: a dataclass, as a model would check anew what we have made ourselves."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    def __init_subclass__(cls) -> None:
        """Make a dataclass of it."""
        dataclass(kw_only=True, eq=False)(cls)


class OneOf:
    """Says of a text that it is one of an enum's: described as that, told as it is stored."""

    def __init__(self, choices: type[StrEnum]) -> None:
        """Take the enum."""
        self.choices = choices

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take it for the enum but where it is written."""
        enum, text = handler.generate_schema(self.choices), core_schema.simple_ser_schema("str")
        return core_schema.chain_schema([enum], serialization=text)


class ClauseShape(Told):
    """A clause of the policy version in force."""

    id: str
    title: str
    text: str


class SegmentShape(Told):
    """One stretch of a trace; `total_seconds` is the running sum at its end; both to the microsecond."""

    from_: Annotated[datetime, Field(alias="from")]
    to: datetime
    kind: SegmentKind
    reason: str | None
    counted_seconds: float
    total_seconds: float


class ActorShape(Told):
    """Who did something: a role, and the person where it was one."""

    role: str
    id: UUID | None


class _Adapters(dict[type[object], TypeAdapter[Any]]):
    """What reads and writes each kind of body, made when it is first needed."""

    def __missing__(self, kind: type[object]) -> TypeAdapter[Any]:
        self[kind] = made = TypeAdapter[Any](kind)
        return made


ADAPTERS: Final = _Adapters()


def as_json(body: Told | BaseModel) -> bytes:
    """Return a body as JSON."""
    return ADAPTERS[type(body)].serializer.to_json(body, by_alias=True)


def as_values(body: Told) -> dict[str, Any]:
    """Return a body as the values that JSON has."""
    found: dict[str, Any] = ADAPTERS[type(body)].serializer.to_python(body, mode="json", by_alias=True)
    return found


def from_stored(kind: type[Body], values: Mapping[str, Any]) -> Body:
    """Make a body of values as they are stored, which may be plainer than those that it tells."""
    made: Body = ADAPTERS[kind].validate_python(values)
    return made


def answer(body: Told | BaseModel, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Write a body as the answer, once."""
    return Response(as_json(body), status, headers, "application/json")


ETAG: Final = re.compile(r'\*|(?:W/)?"[!#-+.-~-]*"', re.ASCII)
ETAGS: Final = {"pattern": rf"^ *({ETAG.pattern}) *(, *({ETAG.pattern}) *)*$"}
"""The same as the description has it, of one or several."""


def matches(if_match: str | None, version: int) -> bool:
    """Tell whether a version is among those that If-Match names; a weak tag is none of them.

    Raises:
        Problem: 422 where it is no list of entity tags.
    """
    if if_match is None:
        return True
    tags = [tag.strip() for tag in if_match.split(",")]
    if not all(ETAG.fullmatch(tag) for tag in tags):
        message = 'give the ETag as it came, such as "3" with its quotes, or several with commas, or *'
        raise errors.invalid([FieldError("/header/if-match", "wrong_etag", message)])
    return "*" in tags or etag(version) in tags


def etag(version: int) -> str:
    """Return the entity tag of a version."""
    return f'"{version}"'


JsonObject: TypeAlias = dict[str, Any]
