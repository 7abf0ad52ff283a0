"""Where identifiers are made: ids that sort by their time, and secrets that nobody can guess."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import uuid_utils.compat

SECRET_BYTES: Final = 32


def new_id() -> UUID:
    """Return a UUIDv7: unique everywhere, and later ones sort later."""
    return uuid_utils.compat.uuid7()


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key as it is made: `text` is shown once, only `digest` is kept."""

    id: str
    text: str
    digest: bytes


def new_key() -> NewKey:
    """Return a fresh API key, `ke_<id>_<secret>`, with 32 random bytes of secret."""
    key_id, secret = secrets.token_hex(8), secrets.token_hex(SECRET_BYTES)
    return NewKey(key_id, f"ke_{key_id}_{secret}", digest(secret))


def digest(secret: str) -> bytes:
    """Return what is kept of a secret; a slow hash is for passwords, which can be guessed."""
    return hashlib.sha256(secret.encode()).digest()
