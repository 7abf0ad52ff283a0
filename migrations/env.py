"""Runs migrations over asyncpg, one transaction each, with bounded waits so that traffic never queues behind them."""

import asyncio

import asyncpg
from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.db import tables

LOCK_TIMEOUT = "2s"
STATEMENT_TIMEOUT = "60s"
CONNECT_SECONDS = 2

# A dump restored into another server brings numbers of transactions that are still to come there: they go on
# behind what is sealed.
GO_ON = """
DO $$ DECLARE sealed bigint;
BEGIN
    IF to_regprocedure('transaction_number(xid8)') IS NULL THEN RETURN; END IF;
    SELECT max(until) INTO sealed FROM audit_checkpoints;
    IF transaction_number(pg_current_xact_id()) < sealed THEN
        EXECUTE format(
            'CREATE OR REPLACE FUNCTION transaction_number(xid8) RETURNS bigint'
            ' LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN $1::text::bigint + %s',
            sealed - pg_current_xact_id()::text::bigint + 1
        );
    END IF;
END $$
"""


def run(connection: Connection) -> None:
    """Migrate over an open connection."""
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect(url: str) -> None:
    """Migrate the database at `url` with sessions that give up rather than block."""
    settings = {"lock_timeout": LOCK_TIMEOUT, "statement_timeout": STATEMENT_TIMEOUT, "timezone": "UTC"}

    # The driver reads the address itself, with all it may say (sslmode and the like), and waits briefly.
    async def dial() -> asyncpg.Connection:
        return await asyncpg.connect(url.replace("+asyncpg", "", 1), timeout=CONNECT_SECONDS, server_settings=settings)

    engine = create_async_engine("postgresql+asyncpg://", poolclass=pool.NullPool, async_creator=dial)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
            await connection.execute(text(GO_ON))
            await connection.commit()
    finally:
        await engine.dispose()


def offline() -> None:
    """Print the statements instead of running them."""
    context.configure(
        url="postgresql://", target_metadata=tables.metadata, literal_binds=True, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    offline()
else:
    asyncio.run(connect(context.config.attributes["url"]))
