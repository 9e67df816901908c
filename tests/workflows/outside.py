"""What users and the vault's owner do on chain without the engine, and what the engine has made of it."""

from sqlalchemy import select

from activities.outside import OutsideActivities
from chain.codec import Function
from chain.contracts import solvency_vault as vault
from chain.contracts.usdc import encode_approve
from contracts.deploy import Transaction
from contracts.funding import mint_usdc
from models.tables.loans import Loan, OutsideMovement, SolvencyPosition
from tests.chain.world import DAY, USD
from tests.engine import Borrower, Engine

PRINCIPAL = 5_000 * USD


async def followed(engine: Engine) -> None:
    """All that is final on chain has been followed."""
    outside = OutsideActivities(engine.transaction, engine.chain)
    while (await outside.follow()).more:
        pass


async def movements(engine: Engine) -> list[tuple[str, int]]:
    query = select(OutsideMovement).order_by(OutsideMovement.block_number, OutsideMovement.log_index)
    async with engine.transaction() as session:
        return [(str(row.kind), row.released) for row in await session.scalars(query)]


async def outside_debt(engine: Engine, borrower: Borrower) -> int:
    query = select(SolvencyPosition).where(SolvencyPosition.position_id == borrower.line.position_id)
    async with engine.transaction() as session:
        return (await session.scalars(query)).one().outside_debt


async def loan_row(engine: Engine, borrower: Borrower) -> Loan:
    query = select(Loan).where(Loan.position_id == borrower.line.position_id).order_by(Loan.created_at.desc())
    async with engine.transaction() as session:
        return (await session.scalars(query.limit(1))).one()


async def user_borrows(engine: Engine, borrower: Borrower, amount: int = 700 * USD) -> None:
    borrow = vault.encode_borrow_usdc(borrower.line.position_id, amount, 30 * DAY, 1)
    (receipt,) = await borrower.user.send(Transaction(engine.contracts.vault, borrow))
    assert receipt.succeeded


async def owner_does(engine: Engine, function: Function, borrower: Borrower) -> None:
    data = function.encode(borrower.line.position_id)
    (receipt,) = await engine.owner.send(Transaction(engine.contracts.vault, data))
    assert receipt.succeeded


async def default(engine: Engine, borrower: Borrower) -> None:
    await owner_does(engine, vault.MARK_DEFAULTED, borrower)


async def liquidate(engine: Engine, borrower: Borrower) -> None:
    await default(engine, borrower)
    await owner_does(engine, vault.LIQUIDATE_POSITION, borrower)


async def settle(engine: Engine, borrower: Borrower, proceeds: int = 10_000 * USD) -> None:
    """The owner buys the collateral at its declared value."""
    await mint_usdc(engine.owner, engine.contracts, engine.owner.address, proceeds)
    approve = Transaction(engine.contracts.usdc, encode_approve(engine.contracts.vault, proceeds))
    await engine.owner.send(approve)
    await owner_does(engine, vault.SETTLE_LIQUIDATION, borrower)
