"""Contracts as others deployed them: no operator path, the platform wallet itself holds the position (contracts.md, trap 1)."""

from datetime import UTC, datetime, timedelta

from api.administration import record_grant
from chain.contracts.solvency_vault import SolvencyVault, TokenType
from contracts.deploy import Sender
from contracts.funding import OpenedLine, open_line
from tests.chain.world import USD, new_sender
from tests.engine import Borrower, BuildEngine, Engine

PRINCIPAL = 5_000 * USD


async def custodial_borrower(engine: Engine, *, grant: bool = True) -> Borrower:
    """A user whose collateral the platform wallet has deposited; an administrator has recorded whose it is."""
    line = engine.custody
    assert line is not None
    user = await new_sender(engine.client)
    if grant:
        await record(engine, user, line)
    return Borrower(user, "", line)


async def record(engine: Engine, user: Sender, line: OpenedLine) -> None:
    async with engine.transaction() as session:
        await record_grant(
            session,
            partner_id=engine.partner.id,
            chain_id=engine.chain.chain_id,
            oaid_address=engine.chain.oaid_address,
            oaid_token_id=line.credit_line_id,
            position_id=line.position_id,
            user_wallet=user.address,
            max_amount=PRINCIPAL,
            expires_at=datetime.now(UTC) + timedelta(days=1),
            reason="the user's consent is on file",
        )


async def test_borrow_and_payoff_where_the_wallet_holds_the_position(build_engine: BuildEngine) -> None:
    """The same engine borrows and pays off to zero debt against a vault that only the position's user may call."""
    async with build_engine(custodial=True) as engine:
        borrower = await custodial_borrower(engine)
        assert not engine.chain.has_operator_path
        async with engine.lane(), engine.loans():
            await engine.fund_float()
            await engine.active_loan(borrower)
            done = await engine.finished(await engine.repay(borrower, {"payoff": True}))
            assert done["outcome"]["status"] == "APPLIED"
            assert (await engine.loan(borrower))["status"] == "REPAID"
            assert await engine.debt(borrower) == 0
            await engine.assert_sound()


async def test_custody_needs_the_administrators_record(build_engine: BuildEngine) -> None:
    """Without an administrator's record nobody may borrow on a position that the platform wallet holds."""
    async with build_engine(custodial=True) as engine:
        borrower = await custodial_borrower(engine, grant=False)
        async with engine.loans():
            answer = await engine.borrow(borrower, PRINCIPAL)
            assert (answer.status_code, answer.json()["code"]) == (422, "grant_required")


async def test_a_vault_that_pays_neither_is_named(build_engine: BuildEngine) -> None:
    """A position that its user holds cannot be used on a vault without operators, and the refusal says so."""
    async with build_engine(custodial=True) as engine:
        user = await new_sender(engine.client)
        line = await open_line(engine.owner, engine.contracts, user, 10_000 * USD, TokenType.RWA)
        await record(engine, user, line)
        async with engine.loans():
            answer = await engine.borrow(Borrower(user, "", line), PRINCIPAL)
            assert (answer.status_code, answer.json()["code"]) == (422, "operator_not_approved")
            (position,) = await engine.client.read(
                SolvencyVault(engine.contracts.vault).get_position(line.position_id), block="latest"
            )
            assert position.user == user.address
