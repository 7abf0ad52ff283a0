"""Who somebody is by the word of an identity provider: JSON Web Tokens, checked by the keys it publishes.

A token says who, never what they may do: that is read from our own tables.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import jwt
import structlog

log: Final = structlog.get_logger()

LONGEST_TOKEN: Final = 8_192
LONGEST_SUBJECT: Final = 200
LARGEST_ANSWER: Final = 262_144
MOST_KEYS: Final = 100
FETCH_SECONDS: Final = 2.0
FRESH_SECONDS: Final = 60.0
"""Keys older than this are fetched again before they are believed: a withdrawn key is out within a minute."""
PAUSE_SECONDS: Final = 30.0
"""The least time between two fetches, however many tokens with unknown keys come."""
RETRY_SECONDS: Final = 5.0
"""The same after a fetch that failed."""
STALE_SECONDS: Final = 900.0
"""For so long the keys known last are believed while the issuer doesn't answer."""
LEEWAY_SECONDS: Final = 10
LONGEST_LIFE_SECONDS: Final = 86_400
KINDS: Final = ("JWT", "AT+JWT")
KEY_TYPES: Final[Mapping[str, str]] = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
MALFORMED: Final = (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError, RecursionError)
"""What reading a document of a stranger may end in."""


class TokenError(Exception):
    """A token that is not believed; the message says what to do and repeats nothing of it."""


class IssuerUnavailableError(Exception):
    """The keys of a token's issuer can't be had now; the same token may be believed later."""


class People(StrEnum):
    """For whom an issuer may speak."""

    STAFF = "staff"
    CONTACTS = "contacts"


@dataclass(frozen=True, slots=True)
class Issuer:
    """An identity provider, for whom it may speak, and by which algorithms it signs.

    Without `jwks_url` its keys are where its OpenID configuration says.
    """

    issuer: str
    audience: str
    people: People
    algorithms: tuple[str, ...]
    jwks_url: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token speaks for: what the issuer calls them, and the scopes that the token carries."""

    issuer: str
    people: People
    subject: str
    scopes: tuple[str, ...]


@dataclass(slots=True)
class KeySet:
    """The keys of one issuer: fetched when they are needed, once for all who wait."""

    issuer: Issuer
    http: httpx.AsyncClient
    clock: Callable[[], float]
    keys: Mapping[tuple[str, str], jwt.PyJWK] = field(default_factory=dict)
    fetched_at: float = float("-inf")
    tried_at: float = float("-inf")
    flight: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def find(self, key_id: str, algorithm: str) -> jwt.PyJWK:
        """Return the key of an id, for an algorithm that it is bound to.

        Raises:
            TokenError: the issuer has no such key.
            IssuerUnavailableError: its keys can't be had.
        """
        await self._fetch(unless=lambda: self._age < FRESH_SECONDS)
        if self._age >= STALE_SECONDS:
            raise IssuerUnavailableError
        wanted = (key_id, algorithm)
        if wanted not in self.keys:
            await self._fetch(unless=lambda: wanted in self.keys)
        if wanted not in self.keys:
            raise TokenError("This token is signed by no key that its issuer has; get a new one.")
        return self.keys[wanted]

    @property
    def _age(self) -> float:
        return self.clock() - self.fetched_at

    async def _fetch(self, unless: Callable[[], bool]) -> None:
        """Fetch the keys, unless that isn't needed any more when it's our turn, or was tried just now."""
        if unless():
            return
        async with self.flight:
            pause = PAUSE_SECONDS if self.fetched_at >= self.tried_at else RETRY_SECONDS
            if unless() or self.clock() - self.tried_at < pause:
                return
            self.tried_at = self.clock()
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    self.keys = _bound(await self._published(), self.issuer.algorithms)
                self.fetched_at = self.tried_at
            except (httpx.HTTPError, TimeoutError, *MALFORMED) as error:
                log.warning("the keys of an issuer cannot be had", issuer=self.issuer.issuer, reason=repr(error))

    async def _published(self) -> Sequence[object]:
        url = self.issuer.jwks_url
        if url is None:
            found = await self._read(f"{self.issuer.issuer.rstrip('/')}/.well-known/openid-configuration")
            url = found["jwks_uri"]
            if found["issuer"] != self.issuer.issuer or not fetchable(url, like=self.issuer.issuer):
                raise ValueError("this configuration is another issuer's, or its keys are at no safe address")
        keys: Sequence[object] = (await self._read(url))["keys"]
        return keys[:MOST_KEYS]

    async def _read(self, url: str) -> Any:  # noqa: ANN401  # a document of a stranger
        """Read a small JSON document; a redirect is none."""
        async with self.http.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"answered {response.status_code}")
            text = b""
            async for chunk in response.aiter_bytes():
                text += chunk
                if len(text) > LARGEST_ANSWER:
                    raise ValueError("the answer is too large")
        return json.loads(text)


class Issuers:
    """The identity providers that are believed, and nobody else."""

    def __init__(
        self, issuers: Iterable[Issuer], http: httpx.AsyncClient, clock: Callable[[], float] = monotonic
    ) -> None:
        """Take the issuers, how they are reached, and a clock that only goes forward."""
        self.key_sets = {issuer.issuer: KeySet(issuer, http, clock) for issuer in issuers}

    async def identify(self, token: str) -> Identity:
        """Check a token and say whom it speaks for.

        Raises:
            TokenError: it is not believed.
            IssuerUnavailableError: the keys to check it by can't be had.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenError("This token is too long.")
        try:
            header = jwt.get_unverified_header(token)
            claimed = jwt.decode(token, options={"verify_signature": False})
            key_set, algorithm, key_id = self.key_sets[claimed["iss"]], header["alg"], header["kid"]
        except MALFORMED:
            raise TokenError("This is no token of an issuer that is believed here.") from None
        issuer = key_set.issuer
        known = algorithm in issuer.algorithms and isinstance(key_id, str)
        if not known or "crit" in header or str(header.get("typ", "JWT")).upper() not in KINDS:
            raise TokenError("This token is not signed in a way that its issuer is believed by.")
        key = await key_set.find(key_id, algorithm)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=issuer.audience,
                issuer=issuer.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["iss", "aud", "sub", "iat", "exp"]},
            )
            return _identity(issuer, claims)
        except jwt.ExpiredSignatureError:
            raise TokenError("This token has expired; get a new one.") from None
        except MALFORMED:
            raise TokenError("This token is not valid here; get a new one for this service.") from None


def client() -> httpx.AsyncClient:
    """Return how issuers are reached: with bounded waits, never following elsewhere."""
    return httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False)


def fetchable(url: object, *, like: str) -> bool:
    """Tell whether keys may be fetched from an address: by TLS, or without where the issuer itself has none."""
    if not isinstance(url, str):
        return False
    parts = urlsplit(url)
    return bool(parts.hostname) and parts.scheme in {"https", urlsplit(like).scheme}


def _bound(published: Iterable[object], algorithms: Sequence[str]) -> dict[tuple[str, str], jwt.PyJWK]:
    """Bind each key to its id and to those algorithms of the issuer that it is for; others are left out."""
    keys = {}
    for found in published:
        if not isinstance(found, dict) or not isinstance(found.get("kid"), str) or found.get("use", "sig") != "sig":
            continue
        for algorithm in algorithms:
            if found.get("kty") == KEY_TYPES[algorithm[:2]] and found.get("alg", algorithm) == algorithm:
                # One key that can't be read takes none of the others along.
                with suppress(*MALFORMED):
                    keys[found["kid"], algorithm] = jwt.PyJWK.from_dict(found, algorithm)
    return keys


def _identity(issuer: Issuer, claims: Mapping[str, Any]) -> Identity:
    """Read whom a checked token speaks for.

    Raises:
        ValueError: it lives too long, or calls them by what is no name.
        TypeError: a claim is of another kind.
    """
    subject, scope = claims["sub"], claims.get("scope", "")
    if claims["exp"] - claims["iat"] > LONGEST_LIFE_SECONDS:
        raise ValueError("a token lives for a day at most")
    if not isinstance(scope, str):
        raise TypeError("scopes are one text")
    if not 1 <= len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise ValueError("a subject is a line of text")
    return Identity(issuer.issuer, issuer.people, subject, tuple(scope.split()))
