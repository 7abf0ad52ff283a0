"""What the environment says, read once: every setting, its meaning, and which of them don't go together."""

import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ORIGIN: Final = re.compile(r"https?://[^/\s,*?#@]+", re.ASCII)
DRIVER: Final = "postgresql+asyncpg://"
KEY: Final = re.compile(r"[A-Za-z0-9+/]{43}=", re.ASCII)
RATE: Final = re.compile(r"[1-9]\d{0,8}/(second|minute|hour)", re.ASCII)
STORAGE: Final = re.compile(r"(redis|valkey)s?://[^/\s]", re.ASCII)
ADDRESS: Final = r"^https?://[^/\s?#@]+(/[^\s?#]*)?$"
Algorithm: TypeAlias = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class SettingsError(Exception):
    """The environment asks for something that doesn't work; the message names all of it in one sentence."""


class Trusted(BaseModel):
    """An issuer of tokens that is believed: for staff or for contacts, for one audience, by named algorithms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(min_length=1, max_length=200, pattern=ADDRESS)
    audience: str = Field(min_length=1, max_length=200)
    people: Literal["staff", "contacts"]
    algorithms: tuple[Algorithm, ...] = Field(("RS256", "ES256"), min_length=1)
    jwks_url: str | None = Field(None, max_length=1_000, pattern=ADDRESS)

    @property
    def plain(self) -> bool:
        """Tell whether its word or its keys come without TLS."""
        return any(url.startswith("http:") for url in (self.issuer, self.jwks_url or ""))


class Settings(BaseSettings):
    """The settings of one process; the name of each is that of its environment variable."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    database_url: str | None = Field(None, description="Where PostgreSQL is; without it the embedded server is used.")
    contact_database_url: str | None = Field(
        None, description="The same as a login that sees one client at a time, for contacts' requests."
    )
    migration_database_url: str | None = Field(None, description="The same as the owner of the schema, for migrations.")
    host: str = Field("127.0.0.1", description="The address to serve on.")
    port: int = Field(8000, ge=1, le=65535, description="The port to serve on.")
    state_dir: Path = Field(Path("var"), description="Where the development start keeps its state.")
    environment: Literal["development", "production"] = Field("development", description="What this machine is for.")
    test_clock: bool = Field(default=False, description="Serve the test clock and sweeps on demand: for tests only.")
    docs: bool | None = Field(None, description="Serve /docs; left out, where only this machine can call.")
    cors_origins: str = Field("", description="Origins that browsers may call from, comma-separated.")
    issuers: Annotated[tuple[Trusted, ...], NoDecode] = Field(
        (), description="Whose tokens are believed, as a JSON list."
    )
    pool_size: int = Field(
        8, ge=1, le=100, description="Database connections of one API process, for the house and for contacts each."
    )
    rate_limit: str = Field(
        "",
        description="How many requests one principal may make, such as `1200/minute`.",
    )
    rate_limit_storage: str = Field(
        "memory://", description="Where they are counted: in each process, or in a Redis or Valkey that all share."
    )
    audit_key: str = Field("", description="What the worker seals the audit with; `new-audit-key` makes one.")
    audit_public_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="What seals are verified with, comma-separated: today's key and those of before."
    )
    sweep_seconds: float = Field(1.0, gt=0, le=3600, description="How long the worker rests between sweeps.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")

    @field_validator("database_url", "contact_database_url", "migration_database_url")
    @classmethod
    def with_driver(cls, value: str | None) -> str | None:
        """Take any usual way to write a PostgreSQL address."""
        if not value:
            return None
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in {"postgres", "postgresql", "postgresql+asyncpg"}:
            raise ValueError("write it as postgresql://user:password@host:5432/database")
        if not _port_is_a_number(value):
            raise ValueError("its port has to be a number")
        return DRIVER + rest

    @field_validator("cors_origins")
    @classmethod
    def with_origins(cls, value: str) -> str:
        """Refuse what no browser would ever send as its origin."""
        for origin in filter(None, (part.strip() for part in value.split(","))):
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError("write each origin as https://portal.example, without a path or a slash at its end")
        return value

    @field_validator("audit_public_keys", mode="before")
    @classmethod
    def from_list(cls, value: object) -> object:
        """Read a list that is separated by commas."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("audit_key", "audit_public_keys")
    @classmethod
    def with_keys(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """Refuse what is no key."""
        for key in filter(None, (value,) if isinstance(value, str) else value):
            if not KEY.fullmatch(key):
                raise ValueError("write a key as `new-audit-key` prints it")
        return value

    @field_validator("issuers", mode="before")
    @classmethod
    def from_json(cls, value: object) -> object:
        """Read the list of issuers."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value or "[]")
        except (ValueError, RecursionError):
            raise ValueError("write it as a JSON list of issuers") from None

    @field_validator("issuers")
    @classmethod
    def with_issuers(cls, value: tuple[Trusted, ...]) -> tuple[Trusted, ...]:
        """Refuse an issuer that could speak for whom another one speaks: the same twice, or a second for contacts."""
        if len({found.issuer for found in value}) < len(value):
            raise ValueError("name each issuer once")
        if [found.people for found in value].count("contacts") > 1:
            # Contacts are known by the portal's word for them: another issuer could say the same of somebody else.
            raise ValueError("name one issuer for contacts, the portal's")
        return value

    @field_validator("rate_limit")
    @classmethod
    def with_rate(cls, value: str) -> str:
        """Refuse a rate that can't be counted."""
        if value and not RATE.fullmatch(value):
            raise ValueError("write it as a number by second, minute or hour, such as 1200/minute")
        return value

    @field_validator("rate_limit_storage")
    @classmethod
    def with_storage(cls, value: str) -> str:
        """Refuse a place where nothing can be counted."""
        if value != "memory://" and not STORAGE.match(value):
            raise ValueError("write it as memory:// or redis://host:6379 or valkey://host:6379")
        return value

    @model_validator(mode="after")
    def safe(self) -> Self:
        """Refuse combinations that would leave a door open, all of them at once."""
        wrong = list(self.violations())
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def violations(self) -> list[str]:
        """Return each unsafe combination as a sentence that says what to change."""
        where = "in production" if self.environment == "production" else f"on {self.host}"
        otherwise = "" if self.environment == "production" else " or serve on 127.0.0.1"
        found = {
            f"TEST_CLOCK may not be set {where}: unset it{otherwise}": self.test_clock,
            f"DATABASE_URL has to be set {where}: the embedded database is for development": not self.database_url,
            f"CONTACT_DATABASE_URL has to be set {where}, with another login than DATABASE_URL": (
                self.contact_database_url in {None, self.database_url}
            ),
            f"AUDIT_PUBLIC_KEYS has to be set {where}, with the key that the worker's AUDIT_KEY goes with": (
                not self.audit_public_keys
            ),
            f"DOCS may not be set {where}: unset it{otherwise}": bool(self.docs),
            f"CORS_ORIGINS may not hold * {where}: name the portal's origin": "*" in self.cors_origins,
            f"ISSUERS may not be reached by plain http {where}: use https": any(each.plain for each in self.issuers),
        }
        return [sentence for sentence, holds in found.items() if self.exposed and holds]

    @property
    def requests(self) -> str:
        """Return how many requests one principal may make: a developer's tests make more than people do."""
        return self.rate_limit or ("1200/minute" if self.exposed else "100000/minute")

    @property
    def exposed(self) -> bool:
        """Tell whether others than the developer at this machine may call: nothing may be open then."""
        return self.environment == "production" or not _loopback(self.host)

    @property
    def serves_docs(self) -> bool:
        """Tell whether the page that describes the API is served: never where others may call."""
        return not self.exposed and self.docs is not False

    @property
    def contacts_url(self) -> str:
        """Return the database's address for contacts' requests: to begin with, one address is enough.

        Raises:
            ValueError: there is none.
        """
        return self.contact_database_url or self.required_database_url

    @property
    def required_database_url(self) -> str:
        """Return the database's address.

        Raises:
            ValueError: there is none.
        """
        if self.database_url is None:
            raise ValueError("set DATABASE_URL, or use `make run`, which brings a database")
        return self.database_url


def load() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: naming everything that is wrong or unsafe at once.
    """
    try:
        return Settings()
    except ValidationError as error:
        reasons = [_reason(item["loc"], item["msg"]) for item in error.errors()]
        raise SettingsError(f"These settings don't work: {'; '.join(reasons)}.") from None


def _reason(place: tuple[int | str, ...], message: str) -> str:
    name = ".".join(map(str, place)).upper()
    return f"{name}: {message}".removeprefix(": ").replace("Value error, ", "")


def _port_is_a_number(url: str) -> bool:
    try:
        urlsplit(url).port  # noqa: B018  # reading it is what checks it
    except ValueError:
        return False
    return True


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
