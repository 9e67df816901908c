"""Restoring PostgreSQL from a real backup, by the very lines of the runbook: with nothing missing, and with the chain ahead."""

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from models.statuses import IncidentKind
from models.tables.operators import Incident
from models.tables.transactions import ChainSigner
from tests.engine import BuildEngine, Engine, until
from tests.operating import Say, variables
from tests.runbook import shell
from tests.runbook.page import typed
from tests.workflows.moments import leg_is


def places(engine: Engine, folder: Path) -> dict[str, str]:
    url = shell.libpq(engine.settings.database_url.get_secret_value())
    return {
        "DATABASE": url,
        "MAINTENANCE": shell.beside(url, "postgres"),
        "NAME": url.rpartition("/")[2],
        "BACKUP": shell.backup_file(folder),
    }


async def run(engine: Engine, folder: Path, name: str) -> tuple[int | None, str]:
    return await shell.run(name, **places(engine, folder), **variables(engine.settings))


async def restored(engine: Engine, folder: Path) -> None:
    """The database is as the backup has it; the connections of before are gone with the old one."""
    assert await run(engine, folder, "restore") == (0, "")
    await engine.parts.database.dispose()

    async def answers() -> bool:
        return (await engine.api.get("/v1/me", headers=engine.partner.headers)).is_success

    await until(answers)


async def test_nothing_is_missing(build_engine: BuildEngine, tmp_path: Path) -> None:
    """With a payoff in flight: the audit holds on the restored rows, and the payoff ends as if nothing had been."""
    async with build_engine() as engine:
        async with engine.loans():
            async with engine.lane():
                await engine.fund_float()
                await until(engine.float_is_booked)
                borrower = await engine.new_borrower()
                await engine.active_loan(borrower)
            answer = await engine.repay(borrower, {"payoff": True})
            await until(partial(leg_is, engine, answer.json()["operation_id"], ("collect", 1, "QUEUED")))
        status, said = await run(engine, tmp_path, "backup")
        assert (status, said) == (0, "")
        await restored(engine, tmp_path)
        status, said = await run(engine, tmp_path, "audit")
        assert status == 0, said
        async with engine.lane(), engine.loans():
            assert (await engine.finished(answer, wait=30))["outcome"]["status"] == "APPLIED"
            assert await engine.debt(borrower) == 0
            await engine.assert_sound()


async def test_the_chain_is_ahead(
    build_engine: BuildEngine, tmp_path: Path, say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    """The audit says that transactions are missing; a lane that is started all the same pauses its signer and signs nothing."""
    async with build_engine() as engine:
        async with engine.lane(), engine.loans():
            assert (await run(engine, tmp_path, "backup"))[0] == 0
            await engine.active_loan(await engine.new_borrower())
        used = await engine.client.nonce(engine.chain.wallet, "latest")
        await restored(engine, tmp_path)
        status, said = await run(engine, tmp_path, "audit")
        assert status == 1, said
        assert f"{engine.chain.wallet} has sent {used} transactions, and the engine made {used - 2}" in said
        async with engine.lane(), engine.loans():
            await until(lambda: is_paused(engine))
            answer = await engine.borrow(await engine.new_borrower())
            assert await engine.legs(answer.json()["operation_id"]) == [("borrow", 1, "QUEUED")]
            capsys.readouterr()
            assert "NONCE_STOLEN" in (await say(engine, *typed("review")))[1]
        assert await engine.client.nonce(engine.chain.wallet, "pending") == used


async def is_paused(engine: Engine) -> bool:
    async with engine.transaction() as session:
        told = await session.scalar(select(Incident.id).where(Incident.kind == IncidentKind.NONCE_STOLEN))
        return told is not None and await session.scalar(select(ChainSigner.paused_by)) == "lane"
