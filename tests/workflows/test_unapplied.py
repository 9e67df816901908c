"""Events of the vault that the rows refuse are kept, and applied in their order once the rows allow it (ADR 0016)."""

from collections.abc import Sequence

from sqlalchemy import func, select, update

from activities.outside import OVERLAP
from models.tables.loans import UnappliedEvent
from models.tables.operators import Incident
from models.tables.partners import Partner
from tests.chain.world import USD
from tests.engine import BuildEngine, Engine
from tests.workflows.outside import PRINCIPAL, followed, loan_row, movements, outside_debt, user_borrows
from tests.workflows.test_audit import user_repays_all
from tests.workflows.test_repay_table import user_repays


async def contradict(engine: Engine, outstanding: int) -> None:
    """What the partner owes in all is said to be this, so that no repayment of more can be taken off it."""
    async with engine.transaction() as session:
        of_partner = update(Partner).where(Partner.id == engine.partner.id)
        await session.execute(of_partner.values(outstanding=outstanding))


async def waiting(engine: Engine) -> Sequence[str]:
    query = select(UnappliedEvent.kind).order_by(UnappliedEvent.block_number, UnappliedEvent.log_index)
    async with engine.transaction() as session:
        return [str(kind) for kind in await session.scalars(query)]


async def incidents(engine: Engine) -> Sequence[tuple[str, bool]]:
    """About what, and whether it is open still."""
    query = select(Incident.subject, Incident.closed_at).order_by(Incident.opened_at)
    async with engine.transaction() as session:
        return [(subject, closed_at is None) for subject, closed_at in await session.execute(query)]


async def blocks_pass(engine: Engine) -> None:
    """More than are ever read again."""
    await engine.client.rpc.call("anvil_mine", hex(OVERLAP + 8))
    await followed(engine)


async def test_a_refused_event_is_applied_when_the_rows_allow_it(engine: Engine) -> None:
    """An event that the rows refuse is kept beyond the blocks that are read again, and the incident closes when it applies."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    subject = f"position {borrower.line.position_id}"
    await contradict(engine, 0)
    await user_repays(engine, borrower, 1_000 * USD)
    await blocks_pass(engine)
    assert (await waiting(engine), await incidents(engine)) == (["REPAYMENT"], [(subject, True)])
    await blocks_pass(engine)
    assert (await loan_row(engine, borrower)).outstanding == PRINCIPAL
    await contradict(engine, PRINCIPAL)
    await followed(engine)
    assert (await waiting(engine), await incidents(engine)) == ([], [(subject, False)])
    owed = (await loan_row(engine, borrower)).outstanding
    assert owed < PRINCIPAL
    assert await movements(engine) == [("REPAYMENT", PRINCIPAL - owed)]
    await blocks_pass(engine)
    assert (await loan_row(engine, borrower)).outstanding == owed
    await engine.assert_sound()


async def test_what_comes_after_a_refused_event_waits_behind_it(engine: Engine) -> None:
    """The user's own borrow is known before what repays it, although the loan's end before both was refused for a while."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await contradict(engine, 0)
    await user_repays_all(engine, borrower)
    await blocks_pass(engine)
    await user_borrows(engine, borrower)
    await user_repays(engine, borrower, 300 * USD)
    await blocks_pass(engine)
    *repaying_all, borrow, repayment = await waiting(engine)
    assert (set(repaying_all), borrow, repayment) == ({"REPAYMENT"}, "BORROW", "REPAYMENT")
    assert await outside_debt(engine, borrower) == 0
    await contradict(engine, PRINCIPAL)
    await followed(engine)
    assert (await waiting(engine), (await loan_row(engine, borrower)).status) == ([], "REPAID")
    assert 400 * USD <= await outside_debt(engine, borrower) < 401 * USD
    assert await engine.partner_usage() == (0, 0, PRINCIPAL, 0)
    await engine.assert_sound()


async def test_a_refused_event_of_one_position_holds_up_no_other(build_engine: BuildEngine) -> None:
    """While one position's event waits, another's are followed as ever."""
    async with build_engine() as engine, engine.lane(), engine.loans():
        other = await engine.new_partner()
        one, fine = await engine.new_borrower(), await engine.new_borrower(grant=False)
        (await engine.grant(fine, partner=other)).raise_for_status()
        await engine.active_loan(one)
        await engine.finished(await engine.borrow(fine, partner=other), partner=other)
        await contradict(engine, 0)
        await user_repays(engine, one, 1_000 * USD)
        await blocks_pass(engine)
        await user_repays(engine, fine, 1_000 * USD)
        await blocks_pass(engine)
        assert (await loan_row(engine, fine)).outstanding < PRINCIPAL
        assert (await loan_row(engine, one)).outstanding == PRINCIPAL
        async with engine.transaction() as session:
            assert await session.scalar(select(func.count()).select_from(UnappliedEvent)) == 1


async def test_an_incident_that_was_closed_by_hand_is_opened_again(engine: Engine) -> None:
    """Closing the incident does not apply the event: as long as it is refused, its incident comes back."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await contradict(engine, 0)
    await user_repays(engine, borrower, 1_000 * USD)
    await followed(engine)
    async with engine.transaction() as session:
        await session.execute(update(Incident).values(closed_at=func.now()))
    await followed(engine)
    assert [is_open for _, is_open in await incidents(engine)] == [False, True]
