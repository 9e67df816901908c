"""`python -m sandbox.schema_check`: whether the migrations lead to the tables that the code declares.

It asks Alembic on a PostgreSQL that is thrown away, so that it works on a machine that has none.
"""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from sandbox.services import Postgres, PostgresOptions

ALEMBIC_INI = Path(__file__).resolve().parents[1] / "alembic.ini"


async def check() -> None:
    """Raises CommandError, which says what differs."""
    with TemporaryDirectory() as folder:
        async with Postgres.start(Path(folder), PostgresOptions(durable=False)) as postgres:
            config = Config(ALEMBIC_INI)
            config.set_main_option("sqlalchemy.url", await postgres.create_database("checked"))
            await asyncio.to_thread(command.upgrade, config, "head")
            await asyncio.to_thread(command.check, config)


def main() -> int:
    try:
        asyncio.run(check())
    except CommandError as difference:
        print(difference, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
