"""Each row of the repay table in money.md section 6 that can occur, with every column, and then the invariants."""

import asyncio
from functools import partial

import httpx
from sqlalchemy import select

from chain.contracts.solvency_vault import encode_repay_loan
from chain.contracts.usdc import encode_approve
from contracts.deploy import Transaction
from contracts.funding import mint_usdc
from models.tables.transactions import InboundTransfer
from tests.chain.world import DAY, USD
from tests.engine import Borrower, Engine, until
from tests.workflows.moments import RepayRow, repay_row_of

PRINCIPAL = 5_000 * USD


async def days_pass(engine: Engine, days: int) -> None:
    await engine.client.rpc.call("evm_increaseTime", days * DAY)
    await engine.client.rpc.call("evm_mine")


async def transfer_state(engine: Engine, tx_hash: str) -> str | None:
    async with engine.transaction() as session:
        return await session.scalar(select(InboundTransfer.state).where(InboundTransfer.tx_hash == tx_hash))


async def seen(engine: Engine, tx_hash: str) -> bool:
    return await transfer_state(engine, tx_hash) is not None


async def test_payoff_by_pull(engine: Engine) -> None:
    """A payoff after ten days ends at exactly zero debt: collected as quoted, the residue paid by the platform float."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await days_pass(engine, 10)
    owed = await engine.debt(borrower)
    before = await engine.balance(engine.partner.settlement.address)
    done = await engine.finished(await engine.repay(borrower, {"payoff": True}))
    assert done["outcome"]["status"] == "APPLIED"
    assert await engine.debt(borrower) == 0
    collected = before - await engine.balance(engine.partner.settlement.address)
    assert owed <= collected < owed + USD
    loan = await engine.loan(borrower)
    assert (loan["status"], loan["outstanding"]) == ("REPAID", "0")
    assert await engine.partner_usage() == (0, 0, PRINCIPAL, 0)
    applied = RepayRow(0, 0, 0, "APPLIED", ["repayment.applied", "loan.repaid"])
    assert await repay_row_of(engine, borrower, done["operation_id"]) == applied
    repayment = loan["repayments"][0]
    assert int(repayment["principal"]) == PRINCIPAL
    assert int(repayment["principal"]) + int(repayment["interest"]) == collected + int(repayment["residue"])
    await engine.assert_sound()


async def test_partial_repayment_by_pull(engine: Engine) -> None:
    """A part is repaid, interest first as the vault says; the limit is free by the principal paid and not by more."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await days_pass(engine, 10)
    done = await engine.finished(await engine.repay(borrower, {"amount": str(1_000 * USD)}))
    assert done["outcome"]["status"] == "APPLIED"
    loan = await engine.loan(borrower)
    repayment = loan["repayments"][0]
    assert int(repayment["interest"]) > 0
    assert int(repayment["principal"]) == 1_000 * USD - int(repayment["interest"])
    assert loan["status"] == "ACTIVE"
    assert int(loan["outstanding"]) == PRINCIPAL - int(repayment["principal"])
    assert (await engine.partner_usage())[0] == int(loan["outstanding"])
    assert await engine.events(done["operation_id"]) == ["repayment.applied"]
    await engine.assert_sound()


async def test_amount_above_the_debt(engine: Engine) -> None:
    """An amount above the debt is refused in the head: nothing moves, nothing is locked."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    answer = await engine.repay(borrower, {"amount": str(6_000 * USD)})
    assert (answer.status_code, answer.json()["code"]) == (422, "amount_above_debt")
    rejected = RepayRow(PRINCIPAL, PRINCIPAL, 0, None, ["repayment.rejected"])
    assert await repay_row_of(engine, borrower, answer.json()["operation_id"]) == rejected
    await engine.assert_sound()


async def test_no_funding_by_pull(engine: Engine) -> None:
    """A settlement address without allowance is refused in the head, with what it holds and what is needed."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await engine.approve_pull(engine.partner, 10)
    answer = await engine.repay(borrower, {"amount": str(USD)})
    assert (answer.status_code, answer.json()["code"]) == (422, "insufficient_funding")
    assert answer.json()["figures"]["allowance"] == "10"
    rejected = RepayRow(PRINCIPAL, PRINCIPAL, 0, None, ["repayment.rejected"])
    assert await repay_row_of(engine, borrower, answer.json()["operation_id"]) == rejected
    await engine.assert_sound()


async def test_repayment_by_proof(engine: Engine) -> None:
    """A transfer that the partner made is claimed once, repaid, and cannot be used again."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    tx_hash = await engine.transfer(engine.partner.settlement, engine.chain.wallet, 1_000 * USD)
    body = {"amount": str(1_000 * USD), "transfer_tx_hash": tx_hash}
    done = await engine.finished(await engine.repay(borrower, body))
    assert done["outcome"]["status"] == "APPLIED"
    assert await transfer_state(engine, tx_hash) == "CLAIMED"
    again = await engine.repay(borrower, body)
    assert (again.status_code, again.json()["code"]) == (409, "transfer_already_claimed")
    await engine.assert_sound()


async def test_payoff_by_proof_refunds_the_excess(engine: Engine) -> None:
    """A payoff by a transfer of too much repays the debt to zero and gives the rest back to the sender."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    tx_hash = await engine.transfer(engine.partner.settlement, engine.chain.wallet, 6_000 * USD)
    done = await engine.finished(await engine.repay(borrower, {"payoff": True, "transfer_tx_hash": tx_hash}))
    assert done["outcome"]["status"] == "APPLIED"
    loan = await engine.loan(borrower)
    assert loan["status"] == "REPAID"
    assert int(loan["repayments"][0]["refunded"]) > 900 * USD
    assert await engine.debt(borrower) == 0
    await engine.assert_sound()


async def test_validation_fails_with_a_proof(engine: Engine) -> None:
    """A claim with another amount than was transferred is rejected, and the transfer stays claimable."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    tx_hash = await engine.transfer(engine.partner.settlement, engine.chain.wallet, 1_000 * USD)
    await until(partial(seen, engine, tx_hash))
    answer = await engine.repay(borrower, {"amount": str(999 * USD), "transfer_tx_hash": tx_hash})
    assert await rejection(engine, answer) == "transfer_amount_mismatch"
    row = await repay_row_of(engine, borrower, answer.json()["operation_id"])
    assert (row.outstanding, row.owed, row.liability, row.events) == (PRINCIPAL, PRINCIPAL, 0, ["repayment.rejected"])
    assert await transfer_state(engine, tx_hash) == "UNCLAIMED"
    right = await engine.repay(borrower, {"amount": str(1_000 * USD), "transfer_tx_hash": tx_hash})
    assert (await engine.finished(right))["outcome"]["status"] == "APPLIED"
    await engine.assert_sound()


async def test_transfer_made_for_another_partner(engine: Engine) -> None:
    """A repayment proved by another partner's transfer is refused, and its owner can still claim it."""
    other = await engine.new_partner()
    mine, theirs = await engine.new_borrower(), await engine.new_borrower(grant=False)
    (await engine.grant(theirs, partner=other)).raise_for_status()
    await engine.active_loan(mine)
    await engine.finished(await engine.borrow(theirs, partner=other), partner=other)
    tx_hash = await engine.transfer(other.settlement, engine.chain.wallet, 1_000 * USD)
    await until(partial(seen, engine, tx_hash))
    body = {"amount": str(1_000 * USD), "transfer_tx_hash": tx_hash}
    assert await rejection(engine, await engine.repay(mine, body)) == "transfer_sender_unknown"
    assert await transfer_state(engine, tx_hash) == "UNCLAIMED"
    done = await engine.finished(await engine.repay(theirs, body, partner=other), partner=other)
    assert done["outcome"]["status"] == "APPLIED"
    await engine.assert_sound()


async def test_proof_not_found(engine: Engine) -> None:
    """A transfer that is not there is waited for as configured, then rejected; the loan is free again."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    body = {"amount": str(1_000 * USD), "transfer_tx_hash": "0x" + "ab" * 32}
    answer = await engine.repay(borrower, body)
    assert await rejection(engine, answer) == "transfer_not_found"
    rejected = RepayRow(PRINCIPAL, PRINCIPAL, 0, "REJECTED", ["repayment.rejected"])
    assert await repay_row_of(engine, borrower, answer.json()["operation_id"]) == rejected
    assert (await engine.finished(await engine.repay(borrower, {"amount": str(USD)})))["outcome"]["status"] == "APPLIED"
    await engine.assert_sound()


async def test_collect_reverts(engine: Engine) -> None:
    """A pull that the chain refuses collects nothing: repayment FAILED, debt and limits unchanged, loan free again."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    engine.once_before(engine.contracts.usdc, partial(engine.approve_pull, engine.partner, 0))
    done = await engine.finished(await engine.repay(borrower, {"amount": str(USD)}))
    assert (done["outcome"]["status"], done["problem"]["code"]) == ("FAILED", "chain_refused")
    failed = RepayRow(PRINCIPAL, PRINCIPAL, 0, "FAILED", ["repayment.failed"])
    assert await repay_row_of(engine, borrower, done["operation_id"]) == failed
    await engine.approve_pull(engine.partner, PRINCIPAL)
    assert (await engine.finished(await engine.repay(borrower, {"amount": str(USD)})))["outcome"]["status"] == "APPLIED"
    await engine.assert_sound()


async def test_repay_refused_after_collection(engine: Engine) -> None:
    """A vault that refuses the repayment after collection: all is refunded, debt and limits unchanged."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    before = await engine.balance(engine.partner.settlement.address)
    await engine.owner_calls(engine.contracts.pool, "setRepaymentsPaused(bool)", True)
    done = await engine.finished(await engine.repay(borrower, {"amount": str(1_000 * USD)}))
    assert (done["outcome"]["status"], done["problem"]["code"]) == ("REFUNDED", "chain_refused")
    assert await engine.balance(engine.partner.settlement.address) == before
    refunded = RepayRow(PRINCIPAL, PRINCIPAL, 0, "REFUNDED", ["repayment.refunded"])
    assert await repay_row_of(engine, borrower, done["operation_id"]) == refunded
    assert (await engine.loan(borrower))["status"] == "ACTIVE"
    await engine.assert_sound()


async def test_debt_fell_meanwhile(engine: Engine) -> None:
    """When the user has repaid a part meanwhile, only what is owed is repaid, and the excess is given back."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    engine.once_before(engine.contracts.vault, partial(user_repays, engine, borrower, 4_500 * USD))
    done = await engine.finished(await engine.repay(borrower, {"amount": str(1_000 * USD)}))
    assert done["outcome"]["status"] == "APPLIED"
    loan = await engine.loan(borrower)
    assert int(loan["repayments"][0]["refunded"]) >= 499 * USD
    assert int(loan["repayments"][0]["remaining_debt"]) == await engine.debt(borrower) < USD


async def test_refund_fails(engine: Engine) -> None:
    """A refund that is refused leaves a liability under review; the operator's retry gives it back."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await engine.owner_calls(engine.contracts.pool, "setRepaymentsPaused(bool)", True)
    settlement = engine.partner.settlement.address
    blacklist = partial(engine.owner_calls, engine.contracts.usdc, "blacklist(address)", settlement)
    engine.once_before(engine.contracts.vault, blacklist)
    answer = await engine.repay(borrower, {"amount": str(1_000 * USD)})
    await until(partial(repayment_is, engine, borrower, "UNDER_REVIEW"))
    delayed = RepayRow(PRINCIPAL, PRINCIPAL, 1_000 * USD, "UNDER_REVIEW", ["repayment.delayed"])
    assert await repay_row_of(engine, borrower, answer.json()["operation_id"]) == delayed
    await engine.owner_calls(engine.contracts.usdc, "unBlacklist(address)", settlement)
    await engine.operator(answer.json()["operation_id"], "retry_step")
    done = await engine.finished(answer)
    assert done["outcome"]["status"] == "REFUNDED"
    assert await engine.events(done["operation_id"]) == ["repayment.delayed", "repayment.refunded"]
    await engine.assert_sound()


async def test_one_repayment_at_a_time(engine: Engine) -> None:
    """Of two repayments at once one is told that the other is in flight, and takes nothing."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    asked = [engine.repay(borrower, {"amount": str(USD)}) for _ in range(2)]
    taken, refused = sorted(await asyncio.gather(*asked), key=lambda answer: answer.is_error)
    assert refused.json()["code"] == "repayment_in_progress"
    assert (await engine.finished(taken))["outcome"]["status"] == "APPLIED"
    assert await engine.debt(borrower) > 4_998 * USD
    await engine.assert_sound()


async def rejection(engine: Engine, answer: httpx.Response) -> str:
    """The code of the problem, whether the head refused or the tail rejected."""
    if answer.is_error:
        return str(answer.json()["code"])
    done = await engine.finished(answer)
    assert done["outcome"]["status"] == "REJECTED", done
    return str(done["problem"]["code"])


async def repayment_is(engine: Engine, borrower: Borrower, state: str) -> bool:
    repayments = (await engine.loan(borrower))["repayments"]
    return bool(repayments and repayments[0]["state"] == state)


async def user_repays(engine: Engine, borrower: Borrower, amount: int) -> None:
    """The borrower repays the vault directly, outside the engine."""
    await mint_usdc(engine.owner, engine.contracts, borrower.user.address, amount)
    approve = Transaction(engine.contracts.usdc, encode_approve(engine.contracts.vault, amount))
    repay = Transaction(engine.contracts.vault, encode_repay_loan(borrower.line.position_id, amount))
    await borrower.user.send(approve, repay)
