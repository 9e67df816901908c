"""A borrow that is decided and has no nonce yet is stopped by whoever may stop it (money.md section 5, row 2).

API, ``loans`` and ``lane`` are processes of their own, and there are two of the API: a cache of who may do what would show.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select

from api.administration import revoke_key, set_status
from chain.signers import pause_signer, resume_signer
from models.statuses import OperationState, PartnerStatus
from models.tables.partners import CreditLineGrant
from sandbox.engine import API
from tests.chain.world import USD
from tests.engine import PartnerAccount, until
from tests.faults.doors import two_doors
from tests.faults.processes import Running, Site, open_running, start_and_fund
from tests.workflows.moments import Row, row_of

AMOUNT = 5_000 * USD
LOANS, LANE = "loans", "lane"
FREE, HELD = (0, 0, 0, 0), (0, AMOUNT, 0, AMOUNT)
DONE_SECONDS = 60


@dataclass(frozen=True)
class Ground:
    running: Running
    doors: tuple[str, ...]
    """The URLs of two API processes."""

    async def says_at_every_door(
        self, status: int, code: str | None, *requests: tuple[str, str, PartnerAccount]
    ) -> None:
        """Each door answers each request, the first that it gets since, like this."""
        for door in self.doors:
            async with httpx.AsyncClient(base_url=door, trust_env=False) as client:
                for method, path, partner in requests:
                    answer = await client.request(method, path, headers=partner.headers)
                    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text


@pytest_asyncio.fixture(scope="module")
async def ground(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    async with open_running(site) as running:
        await running.processes.start(LANE, role="lane")
        await running.processes.start(LOANS, role="loans")
        await start_and_fund(running, API)
        async with two_doors(running, tmp_path_factory.mktemp("doors")) as doors:
            yield Ground(running, tuple(doors.urls))


@asynccontextmanager
async def lane_absent(running: Running) -> AsyncIterator[None]:
    await running.processes.stop(LANE)
    yield
    await running.processes.start(LANE)


@asynccontextmanager
async def lane_paused(running: Running) -> AsyncIterator[None]:
    chain = running.engine.chain
    async with running.engine.transaction() as session:
        await pause_signer(session, chain.chain_id, chain.wallet, reason="the test says so", by="tests")
    yield
    async with running.engine.transaction() as session:
        await resume_signer(session, chain.chain_id, chain.wallet)


async def suspend(running: Running) -> None:
    async with running.engine.transaction() as session:
        await set_status(session, running.engine.partner.id, PartnerStatus.SUSPENDED)


async def revoke_the_key(running: Running) -> None:
    async with running.engine.transaction() as session:
        await revoke_key(session, running.engine.partner.issued.key_id)


async def give_the_grant_up(running: Running) -> None:
    """As the partner does, over REST."""
    engine = running.engine
    async with engine.transaction() as session:
        of_partner = select(CreditLineGrant.id).where(CreditLineGrant.partner_id == engine.partner.id)
        (grant_id,) = await session.scalars(of_partner)
    (await engine.api.delete(f"/v1/grants/{grant_id}", headers=engine.partner.headers)).raise_for_status()


Stop = Callable[[Running], Awaitable[None]]
STOPS = [
    (suspend, (403, "partner_not_active")),
    (revoke_the_key, (401, "api_key_revoked")),
    (give_the_grant_up, None),
]


@pytest.mark.parametrize("lane", [lane_absent, lane_paused])
@pytest.mark.parametrize(("stop", "refused"), STOPS)
async def test_a_decided_borrow_is_stopped(
    ground: Ground,
    stop: Stop,
    refused: tuple[int, str] | None,
    lane: Callable[[Running], AbstractAsyncContextManager[None]],
) -> None:
    """The next call is refused at every door; the borrow is never sent, its limits are free, and loan.failed says so."""
    running, engine = ground.running, ground.running.engine
    partner = engine.partner = await engine.new_partner()
    borrower = await engine.new_borrower()
    async with lane(running):
        answer = await engine.borrow(borrower, AMOUNT)
        assert (answer.status_code, answer.json()["decision"]) == (202, "accepted")
        operation_id = answer.json()["operation_id"]
        await running.reaches(operation_id, "borrow", "QUEUED")
        calls = [("GET", f"/v1/operations/{operation_id}", partner), ("GET", "/v1/grants", partner)]
        await ground.says_at_every_door(200, None, *calls)
        assert await row_of(engine, borrower, operation_id) == Row(HELD, 0, 0, "PENDING", [])
        await stop(running)
        if refused is not None:
            await ground.says_at_every_door(*refused, *calls)
    await until(lambda: is_done(running, operation_id), DONE_SECONDS)
    assert await row_of(engine, borrower, operation_id) == Row(FREE, 0, 0, "FAILED", ["loan.failed"])
    assert {(leg, state) for leg, _, state in await engine.legs(operation_id)} == {("borrow", "ABANDONED")}
    assert await running.borrowed_on_chain(borrower) == 0
    await running.comes_to_rest_sound()


async def is_done(running: Running, operation_id: str) -> bool:
    return (await running.engine.operation_row(operation_id)).state is OperationState.DONE
