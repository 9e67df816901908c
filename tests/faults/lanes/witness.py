"""Who wrote to the lane's tables, and in what order: a trigger's word, which no process can avoid giving."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from sqlalchemy import text

from tests.faults.lanes.yard import Yard

_TABLES = ("chain_signers", "chain_transactions", "chain_attempts")
_INSTALL = (
    "CREATE TABLE lane_writes (place bigserial PRIMARY KEY, pid int NOT NULL, name text NOT NULL)",
    """CREATE FUNCTION note_lane_write() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO lane_writes (pid, name) VALUES (pg_backend_pid(), current_setting('application_name'));
        RETURN NULL;
    END $$""",
    *(
        f"CREATE TRIGGER note_lane_write AFTER INSERT OR UPDATE OR DELETE ON {table} "
        "FOR EACH STATEMENT WHEN (current_setting('application_name') LIKE 'lane-%') EXECUTE FUNCTION note_lane_write()"
        for table in _TABLES
    ),
)

Writer = tuple[int, str]
"""A database session and the lane that it belongs to: a lane has a new session for each of its terms."""


async def install_witness(yard: Yard) -> None:
    async with yard.desk.transaction() as session:
        for statement in _INSTALL:
            await session.execute(text(statement))


async def terms(yard: Yard) -> list[Writer]:
    """Who wrote, in the order in which they did, one entry for each run of writes of one session."""
    async with yard.desk.transaction() as session:
        writes = (await session.execute(text("SELECT pid, name FROM lane_writes ORDER BY place"))).all()
    return [writer for writer, _ in groupby((row.pid, row.name) for row in writes)]


def zombies(written: Sequence[Writer]) -> list[str]:
    """Sessions that wrote again after another one had begun to: two lanes at work, or a thawed one."""
    return [f"{name} (session {pid}) wrote after its term" for pid, name in _again(written)]


def _again(written: Iterable[Writer]) -> list[Writer]:
    seen: set[Writer] = set()
    again = []
    for writer in written:
        if writer in seen:
            again.append(writer)
        seen.add(writer)
    return again
