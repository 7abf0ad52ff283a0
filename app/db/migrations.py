"""The schema's history: bringing a database to what this version of the code needs."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from app.db.statements import DatabaseUnavailableError

CONFIGURATION: Final = Path(__file__).resolve().parent.parent.parent / "alembic.ini"


class MigrationError(Exception):
    """The database can't be migrated; the message is one sentence that says what to do."""


def configuration(url: str) -> Config:
    """Return Alembic's configuration for a database."""
    found = Config(CONFIGURATION)
    found.attributes["url"] = url
    return found


def behind() -> frozenset[str]:
    """Return the schema revisions that this version of the code is too new for.

    One that it doesn't know is later than its own: every migration leaves room for the code before it.
    """
    scripts = ScriptDirectory.from_config(Config(CONFIGURATION))
    return frozenset(found.revision for found in scripts.walk_revisions()) - {scripts.get_current_head()}


def upgrade(url: str) -> None:
    """Run every migration that is missing.

    Raises:
        DatabaseUnavailableError: the database can't be reached.
        MigrationError: it refuses, or was made by other code.
    """
    try:
        command.upgrade(configuration(url), "head")
    except (OSError, TimeoutError) as error:
        raise DatabaseUnavailableError("the database cannot be reached") from error
    except DBAPIError as error:
        reason = str(error.orig).splitlines()[0].rsplit(">: ", 1)[-1]
        raise MigrationError(f"The database refuses the migration ({reason}); mend that and start again.") from None
    except CommandError as error:
        raise MigrationError(f"The migrations don't fit this database ({error}); use the code that made it.") from None
