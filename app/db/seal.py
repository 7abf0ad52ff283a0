"""The seal on what has happened: a chain of signed checkpoints over events and audit entries, and its verification.

A checkpoint covers what a range of transactions wrote. Its digest begins with the one before and goes over
every row in order, so no row can be changed, taken away, added or moved without a trace; its signature is
made with a key that the database doesn't have, so no digest can be made to fit. What was cut off at the end,
or sealed anew after somebody had cut it off, is seen by a receipt: a checkpoint's number and digest, kept
elsewhere, such as in the log of the worker that sealed it.
"""

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from time import monotonic
from typing import Any, Final, Self

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.db import audit
from app.db.audit import Checkpoint, Line
from app.db.pool import Pool
from app.db.statements import Statement, encode

log: Final = structlog.get_logger()
MOST_ROWS: Final = 10_000
"""A checkpoint ends with the transaction in which it came to so many events; what else these wrote goes with them."""
RECEIPT: Final = re.compile(r"([1-9]\d{0,8}):([0-9a-f]{64})", re.ASCII)
PAGE: Final = 2_000
BEGINNING: Final = -(2**63)
"""Before every transaction and every place: whatever number a row is given, it is looked at."""
FIRST: Final = "0" * 64
"""What stands for the digest before the first."""


class Wrong(StrEnum):
    """What a verification may find."""

    ALTERED = "altered"
    MISSING_ROWS = "missing_rows"
    ADDED_ROWS = "added_rows"
    FORGED = "forged"
    MISSING_CHECKPOINT = "missing_checkpoint"
    CUT_OFF = "cut_off"
    REWRITTEN = "rewritten"
    FROM_THE_FUTURE = "from_the_future"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A checkpoint as somebody wrote it down."""

    number: int
    digest: str

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `number:digest`.

        Raises:
            ValueError: it is no receipt.
        """
        found = RECEIPT.fullmatch(text)
        if found is None:
            raise ValueError("write a receipt as number:digest, as the worker's log and the API tell it")
        return cls(int(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was sealed, at which checkpoint."""

    checkpoint: int
    problem: Wrong


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification looked at and found; `after` is where to go on, None at the end.

    At the end `unsealed` counts the rows that were written since the last seal.
    """

    checkpoints: int = 0
    events: int = 0
    entries: int = 0
    findings: tuple[Finding, ...] = ()
    last: Checkpoint | None = None
    after: int | None = None
    unsealed: int = 0


@dataclass(slots=True)
class Sealer:
    """Seals with a key, and remembers the last checkpoint it saw: what it has sealed isn't sealed anew."""

    key: Ed25519PrivateKey
    seen: Checkpoint | None = field(default=None)

    async def run(self, pool: Pool, now: datetime) -> int:
        """Seal all that was written by transactions that are over, and return how many checkpoints that made."""
        made = 0
        while await self._one(pool, now):
            made += 1
        return made

    async def _one(self, pool: Pool, now: datetime) -> bool:
        last, horizon = await audit.last(pool), await audit.horizon(pool)
        if await self._went_back(pool, last):
            return False
        if last is not None and horizon < last.until:
            log.error("nothing can be sealed: this database was restored elsewhere; run migrate", until=last.until)
        if last is not None and horizon <= last.until:
            return False
        since, number = (last.until, last.number + 1) if last else (BEGINNING, 1)
        rows = _Rows(pool, since, horizon, last.digest if last else FIRST)
        await rows.read(most=MOST_ROWS)
        if not rows.events + rows.entries:
            return False
        drawn = Checkpoint(
            number, since, rows.until, rows.events, rows.entries, rows.digest, now, key_id(self.key.public_key()), ""
        )
        sealed = replace(drawn, signature=base64.b64encode(self.key.sign(_signed(drawn))).decode())
        if await audit.add_checkpoint(pool, sealed):
            self.seen = sealed
            log.info("sealed", number=number, digest=sealed.digest, events=rows.events, entries=rows.entries)
        return True

    async def _went_back(self, pool: Pool, last: Checkpoint | None) -> bool:
        """Tell whether what was seen is gone or another; then nothing is sealed until somebody has looked."""
        if self.seen is not None and await audit.checkpoint(pool, self.seen.number) != self.seen:
            log.error("a checkpoint of the audit is gone", number=self.seen.number, digest=self.seen.digest)
            return True
        self.seen = last
        return False


async def verify(
    pool: Pool,
    keys: Mapping[str, Ed25519PublicKey],
    *,
    after: int = 0,
    receipt: Receipt | None = None,
    seconds: float | None = None,
) -> Report:
    """Compare everything after a checkpoint with its seals, for no longer than given, and go on where that ended.

    The checkpoint gone on after is believed: it was looked at before.
    """
    began, report = monotonic(), Report()
    before = await audit.checkpoint(pool, after) if after else None
    findings = list[Finding]()
    if after and before is None:
        return replace(report, findings=(Finding(after, Wrong.MISSING_CHECKPOINT),))
    if receipt and receipt.number <= after:
        noted = await audit.checkpoint(pool, receipt.number)
        if noted is None or noted.digest != receipt.digest:
            findings.append(Finding(receipt.number, Wrong.REWRITTEN))
    while page := await audit.checkpoints(pool, before.number if before else 0, 1):
        (found,) = page
        findings += [Finding(found.number, problem) for problem in await _wrong(pool, keys, before, found, receipt)]
        report = replace(
            report,
            checkpoints=report.checkpoints + 1,
            events=report.events + found.events,
            entries=report.entries + found.entries,
            last=found,
        )
        before = found
        if seconds is not None and monotonic() - began > seconds:
            return replace(report, findings=tuple(findings), after=found.number)
    if receipt and (before is None or before.number < receipt.number):
        findings.append(Finding(receipt.number, Wrong.CUT_OFF))
    tail = await audit.tail(pool, before.until if before else BEGINNING)
    if tail and tail.ahead:
        findings.append(Finding(before.number if before else 0, Wrong.FROM_THE_FUTURE))
    return replace(report, findings=tuple(findings), last=before, unsealed=tail.unsealed if tail else 0)


async def _wrong(
    pool: Pool,
    keys: Mapping[str, Ed25519PublicKey],
    before: Checkpoint | None,
    found: Checkpoint,
    receipt: Receipt | None,
) -> list[Wrong]:
    """Name what is wrong with one checkpoint and the rows that it covers."""
    number, since, digest = (before.number + 1, before.until, before.digest) if before else (1, BEGINNING, FIRST)
    wrong = [Wrong.MISSING_CHECKPOINT] if (found.number, found.since) != (number, since) else []
    if receipt is not None and receipt.number == found.number and receipt.digest != found.digest:
        wrong.append(Wrong.REWRITTEN)
    if not _authentic(found, keys):
        wrong.append(Wrong.FORGED)
    rows = _Rows(pool, found.since, found.until, digest)
    await rows.read(most=None)
    count, sealed = rows.events + rows.entries, found.events + found.entries
    if count != sealed:
        wrong.append(Wrong.MISSING_ROWS if count < sealed else Wrong.ADDED_ROWS)
    elif rows.digest != found.digest and Wrong.MISSING_CHECKPOINT not in wrong:
        wrong.append(Wrong.ALTERED)
    return wrong


class _Rows:
    """Reads the rows of a range of transactions in order, and makes their digest on top of the one before."""

    def __init__(self, pool: Pool, since: int, until: int, before: str) -> None:
        self.pool, self.since, self.until = pool, since, until
        self.events = self.entries = 0
        self._last = since
        self._hash = hashlib.sha256(before.encode())

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    async def read(self, *, most: int | None) -> None:
        """Read on; where there are more rows than `most` the range ends earlier, with a whole transaction."""
        if self.since == BEGINNING:
            async for line in self._early():
                self._take(line)
                self.events += 1
        async for line in self._pages(audit.event_lines):
            if most is not None and self.events >= most and line.transaction > self._last:
                self.until = line.transaction
                break
            self._take(line)
            self.events += 1
        async for line in self._pages(audit.entry_lines):
            self._take(line)
            self.entries += 1

    def _take(self, line: Line) -> None:
        self._last = line.transaction
        self._hash.update(line.text.encode() + b"\n")

    async def _early(self) -> AsyncIterator[Line]:
        position = BEGINNING
        while page := await audit.early_lines(self.pool, position, PAGE):
            for line in page:
                yield line
            position = page[-1].position

    async def _pages(self, lines: Statement[[int, int, int, int, int], list[Line]]) -> AsyncIterator[Line]:
        transaction, position = self.since, BEGINNING
        while page := await lines(self.pool, self.since, self.until, transaction, position, PAGE):
            for line in page:
                yield line
            transaction, position = page[-1].transaction, page[-1].position


# -------------------------------------------------------------------------------------- keys


def private_key(text: str) -> Ed25519PrivateKey:
    """Read a key to sign with: 32 bytes in base64.

    Raises:
        ValueError: it is none.
    """
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text, validate=True))


def public_keys(texts: Iterable[str]) -> dict[str, Ed25519PublicKey]:
    """Read keys to verify with, each 32 bytes in base64, by their ids.

    Raises:
        ValueError: one is none.
    """
    found = [Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True)) for text in texts]
    return {key_id(key): key for key in found}


def key_id(key: Ed25519PublicKey) -> str:
    """Return by what a key is known: the beginning of its digest."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def new_key() -> tuple[str, str]:
    """Make a key to sign with, and return it with the one to verify with."""
    key = Ed25519PrivateKey.generate()
    return _text(key.private_bytes_raw()), _text(key.public_key().public_bytes_raw())


def public_of(private: str) -> str:
    """Return the key to verify with that goes with one to sign with."""
    return _text(private_key(private).public_key().public_bytes_raw())


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _signed(checkpoint: Checkpoint) -> bytes:
    """Return what of a checkpoint is signed: everything but the signature."""
    told: Mapping[str, Any] = {
        name: getattr(checkpoint, name)
        for name in ("number", "since", "until", "events", "entries", "digest", "sealed_at", "key_id")
    }
    return encode(told).encode()


def _authentic(checkpoint: Checkpoint, keys: Mapping[str, Ed25519PublicKey]) -> bool:
    key = keys.get(checkpoint.key_id)
    try:
        signature = base64.b64decode(checkpoint.signature, validate=True)
        if key is not None:
            key.verify(signature, _signed(checkpoint))
    except (InvalidSignature, ValueError):
        return False
    return key is not None
