"""Each invariant is broken by hand, one row at a time, and the audit names exactly what was broken."""

from dataclasses import dataclass

import pytest

from models.statuses import IncidentKind
from tests.audit.conftest import Tampered


@dataclass(frozen=True)
class Case:
    """What is changed, and the breaches that follow: each with its invariant and a part of its sentence."""

    name: str
    changes: str
    breaches: tuple[tuple[int, str], ...]
    pauses: bool = False


CASES = (
    Case(
        "a promise of a finished operation is left open",
        """
        INSERT INTO ledger_transfers (operation_id, leg, generation, phase, kind, debit_account, credit_account, amount)
        SELECT id, 'refund', 1, 'PENDING', 'REFUND', 'in_flight', 'platform_wallet', 7 FROM a_borrow
        """,
        ((1, "refund is pending in the ledger"),),
    ),
    Case(
        "a finished operation keeps money in flight",
        """
        INSERT INTO ledger_transfers (operation_id, phase, kind, debit_account, credit_account, amount)
        SELECT id, 'SINGLE', 'SUSPENSE', 'fee_income', 'in_flight', 7 FROM a_borrow
        """,
        ((1, "has 7 base units left on in_flight"),),
    ),
    Case(
        "an account gives more than it had",
        """
        INSERT INTO ledger_transfers (phase, kind, debit_account, credit_account, amount)
        VALUES ('SINGLE', 'SUSPENSE', 'suspense', 'fee_income', 7)
        """,
        ((1, "the account suspense gave 7 base units more than it had"),),
    ),
    Case(
        "the cached float",
        "UPDATE ledger_balances SET posted = posted + 1 WHERE account = 'float'",
        ((1, "the cached balance of float"),),
    ),
    Case(
        "what is promised from the float",
        "UPDATE ledger_balances SET pending_out = pending_out + 1 WHERE account = 'float'",
        ((1, "with 1 promised"),),
    ),
    Case(
        "what a partner owes",
        "UPDATE partners SET outstanding = outstanding + 1",
        ((1, "its loans and reservations say"),),
    ),
    Case("what a day borrowed", "UPDATE partner_days SET borrowed = borrowed + 1", ((1, "its reservations say"),)),
    Case(
        "what a position owes to partners",
        "UPDATE solvency_positions SET total_partner_debt = total_partner_debt + 1 WHERE position_id IN (TABLE a_position)",
        ((1, "of partners' debt; its loans say"),),
    ),
    Case(
        "a reservation of less than was lent, and its day with it",
        """
        UPDATE reservations SET amount = amount - 1 WHERE operation_id IN (TABLE the_later);
        UPDATE partner_days SET borrowed = borrowed - 1
        """,
        ((1, "has no reservation of its principal"),),
    ),
    Case(
        "a finished repayment holds its loan",
        """
        ALTER TABLE repayments DROP CONSTRAINT ck_repayments_closed_holds_no_loan;
        UPDATE repayments SET holds_loan = true WHERE payoff
        """,
        ((1, "is finished and holds its loan"),),
    ),
    Case(
        "a reservation above its limit",
        "UPDATE reservations SET total_limit = amount - 1 WHERE operation_id NOT IN (TABLE the_later)",
        ((2, "of limits 4999999999 and"),),
    ),
    Case(
        "a reservation that did not see the one before it",
        "UPDATE reservations SET daily_used_before = 0 WHERE operation_id IN (TABLE the_later)",
        ((2, "its partner's rows say at least"),),
    ),
    Case(
        "a payout that no attempt explains",
        "DELETE FROM chain_attempts WHERE transaction_id IN (TABLE a_payout)",
        ((3, "settle of borrow:"), (3, "and belongs to nothing")),
        pauses=True,
    ),
    Case(
        "a payout of a leg that is said to have reverted",
        "UPDATE chain_transactions SET state = 'FINAL_REVERTED' WHERE id IN (TABLE a_payout)",
        ((3, "is FINAL_REVERTED, and"),),
        pauses=True,
    ),
    Case(
        "a payout to another address than the loan's",
        """
        UPDATE loans SET settlement_address = '0x000000000000000000000000000000000000dEaD'
        WHERE operation_id IN (TABLE a_borrow)
        """,
        ((3, "moved USDC with"), (3, "which is no address of its partner")),
        pauses=True,
    ),
    Case(
        "a repayment that came from another address",
        "UPDATE repayments SET payer = user_wallet FROM loans WHERE loans.id = loan_id AND payoff",
        ((3, "moved USDC with"),),
    ),
    Case(
        "a payout that is posted with less than it moved",
        """
        UPDATE ledger_transfers SET amount = amount - 5
        WHERE id = (SELECT max(id) FROM ledger_transfers WHERE phase = 'POSTED' AND kind = 'PAYOUT')
        """,
        ((1, "has 5 base units left on in_flight"), (3, "posted with"), (3, "base units of cash, the wallet holds")),
        pauses=True,
    ),
    Case(
        "a final leg whose logs are not on chain",
        """
        UPDATE chain_attempts SET hash = '0x01' WHERE transaction_id IN (TABLE a_payout);
        UPDATE chain_transactions SET result_tx_hash = '0x01' WHERE id IN (TABLE a_payout)
        """,
        ((3, "which moved no USDC on chain"), (3, "and belongs to nothing")),
        pauses=True,
    ),
    Case(
        "a transfer that is booked and not on chain",
        "UPDATE inbound_transfers SET log_index = log_index + 1000 WHERE id IN (TABLE unclaimed)",
        ((3, "the chain has no such transfer"), (3, "brought 1 base units from")),
    ),
    Case(
        "a transfer that is booked twice",
        """
        INSERT INTO ledger_transfers (inbound_id, phase, kind, debit_account, credit_account, amount)
        SELECT id, 'SINGLE', 'INBOUND', 'platform_wallet', 'unclaimed_inbound', 1 FROM unclaimed
        """,
        ((1, "are unclaimed, and their account holds"), (3, "2 are booked"), (3, "of cash, the wallet holds")),
        pauses=True,
    ),
    Case(
        "a transfer that was never recorded",
        """
        DELETE FROM ledger_transfers WHERE inbound_id IN (TABLE unclaimed);
        DELETE FROM inbound_transfers WHERE id IN (TABLE unclaimed)
        """,
        ((3, "brought 1 base units from"),),
    ),
    Case(
        "a user's own debt that the chain does not show",
        "UPDATE solvency_positions SET outside_debt = outside_debt + 1 WHERE position_id IN (TABLE a_position)",
        ((4, "1 of it the user's own"),),
    ),
    Case(
        "a loan that owes more than the chain says",
        "UPDATE loans SET outstanding = outstanding + 1 WHERE status = 'ACTIVE'",
        ((1, "its loans and reservations say"), (1, "of partners' debt"), (4, "on chain, and")),
    ),
    Case(
        "a leg that succeeded twice",
        """
        DROP INDEX uq_chain_transactions_one_live_or_ok;
        ALTER TABLE chain_transactions DROP CONSTRAINT ck_chain_transactions_nonce_from_prepared_on;
        INSERT INTO chain_transactions
            (operation_id, leg, generation, chain_id, signer, state, call, amount, result_tx_hash, result_block, logs)
        SELECT operation_id, 'unwind', 1, chain_id, signer, state, call, amount, result_tx_hash, result_block, '[]'
        FROM chain_transactions WHERE id IN (TABLE a_payout)
        """,
        ((3, "none of its attempts"), (5, "settle|unwind of borrow:")),
    ),
    Case(
        "a nonce that no leg has",
        "UPDATE chain_signers SET next_nonce = next_nonce + 1",
        ((6, "belongs to no leg"),),
    ),
    Case(
        "transactions that the engine did not make",
        """
        UPDATE chain_signers SET next_nonce = next_nonce - 1;
        UPDATE chain_transactions SET nonce = 10000 WHERE nonce = (SELECT max(nonce) FROM chain_transactions)
        """,
        ((6, "was never given out"), (6, "transactions, and the engine made")),
    ),
    Case(
        "a finished operation that told nobody",
        "DELETE FROM events WHERE operation_id IN (TABLE a_borrow)",
        ((7, "is done and has 0 terminal events"),),
    ),
)


async def test_nothing_is_found_where_nothing_was_touched(tampered: Tampered) -> None:
    """A sound state has no breach, and the figures that are compared are equal and not all zero."""
    report = await tampered.audit()
    assert report.breaches == []
    assert [finding.invariant for finding in report.findings] == [1, 2, 3, 4, 5, 6, 7]
    for finding in report.findings:
        assert any(figure.expected > 0 for figure in finding.figures), finding.title
        assert [figure for figure in finding.figures if figure.expected != figure.found] == []


@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "-") for case in CASES])
async def test_what_was_tampered_with_is_named(tampered: Tampered, case: Case) -> None:
    """The breaches are those of the row that was changed and no others; USDC that is missing pauses the signer."""
    await tampered.execute(case.changes)
    report = await tampered.audit()
    found = sorted(report.breaches, key=lambda breach: (breach.invariant, breach.detail))
    assert len(found) == len(case.breaches), list(map(str, found))
    for invariant, part in case.breaches:
        assert any(breach.invariant == invariant and part in breach.detail for breach in found), list(map(str, found))
    assert any(breach.pauses_signer for breach in found) is case.pauses


async def test_a_surplus_is_told_apart(tampered: Tampered) -> None:
    """USDC that nobody booked is a surplus of its own kind and amount, and pauses nothing."""
    await tampered.execute("DELETE FROM ledger_transfers WHERE inbound_id IN (TABLE unclaimed)")
    report = await tampered.audit()
    assert report.surplus == 1
    assert [breach.pauses_signer for breach in report.breaches if breach.kind is IncidentKind.SURPLUS] == [False]
