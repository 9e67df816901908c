"""Runs migrations on the database of the settings, or on one given with ``-x url=…``; a lock that is not had soon is an error."""

from typing import Literal

from alembic import context
from sqlalchemy import NullPool, create_engine, text

import models.tables
from models.tables.base import Base, Uint256, Words
from settings import DatabaseSettings

assert models.tables.__all__  # noqa: S101 - the import is what fills Base.metadata


def database_url() -> str:
    given = context.get_x_argument(as_dictionary=True).get("url") or context.config.get_main_option("sqlalchemy.url")
    return given or DatabaseSettings().database_url.get_secret_value()


def plain_type(kind: str, item: object, _: object) -> str | Literal[False]:
    """Migrations spell column types out, so that they stay true when the models' own types change."""
    if kind == "type" and isinstance(item, Words):
        return "sa.Text()"
    if kind == "type" and isinstance(item, Uint256):
        return "sa.Numeric(78, 0)"
    return False


def declared(_: object, name: str | None, kind: str, *__: object) -> bool:
    """Partitions belong to their table: the models declare that one alone."""
    return not (kind == "table" and name is not None and name.startswith("request_log_"))


def run() -> None:
    with create_engine(database_url(), poolclass=NullPool).connect() as connection:
        connection.execute(text("SET lock_timeout = '4s'"))
        connection.execute(text("SET statement_timeout = '60s'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            render_item=plain_type,
            include_object=declared,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
