"""Bringing a database's schema to this version of the code."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from app.cli.problems import StartError

CONFIGURATION: Final = Path(__file__).resolve().parent.parent.parent / "alembic.ini"


def configuration(url: str) -> Config:
    """Return Alembic's configuration for a database."""
    found = Config(CONFIGURATION)
    found.attributes["url"] = url
    return found


def upgrade(url: str) -> None:
    """Run every migration that is missing.

    Raises:
        StartError: the database can't be reached or refuses.
    """
    try:
        command.upgrade(configuration(url), "head")
    except (OSError, TimeoutError):
        raise StartError(
            "The database can't be reached; start it, mend DATABASE_URL, or unset it to use the embedded one."
        ) from None
    except DBAPIError as error:
        reason = str(error.orig).splitlines()[0].rsplit(">: ", 1)[-1]
        raise StartError(f"The database refuses the migration ({reason}); mend that and start again.") from None
    except CommandError as error:
        raise StartError(f"The migrations don't fit this database ({error}); use the code that made it.") from None
