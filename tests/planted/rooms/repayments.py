"""Bugs of repayments: what was collected is claimed once, owed to whom it came from, and never more than that is spent."""

from tests.planted.bug import Bug

_CLAIMS = "activities/claims.py"
_REPAYS = "tests/workflows/test_repay_table.py"
_AUDIT = "tests/workflows/test_audit.py"

BUGS = [
    Bug(
        name="proof-claimed-twice",
        breaks="a transfer is claimed once",
        file=_CLAIMS,
        old="    free = [transfer for transfer in found if transfer.state is InboundState.UNCLAIMED]\n",
        new="    free = found\n",
        test="tests/activities/test_repayments.py::test_a_transfer_is_claimed_once",
    ),
    Bug(
        name="claimed-by-another-partner",
        breaks="a claim must come from an address registered to that partner alone",
        file=_CLAIMS,
        old="exists().where(SettlementAddress.address == sender, SettlementAddress.partner_id == rows.partner.id)",
        new="exists().where(SettlementAddress.address == sender)",
        test=f"{_REPAYS}::test_transfer_made_for_another_partner",
    ),
    Bug(
        name="claimed-with-another-amount",
        breaks="a claim must match the amount exactly",
        file=_CLAIMS,
        old="if terms.payoff or transfer.amount == terms.amount]",
        new="if terms.payoff or transfer.amount >= (terms.amount or 0)]",
        test=f"{_REPAYS}::test_validation_fails_with_a_proof",
    ),
    Bug(
        name="claimed-after-the-end",
        breaks="a claim that wakes up after its operation is done claims nothing",
        file="activities/repayments.py",
        old="            if rows.operation.state is OperationState.DONE:\n",
        new="            if rows.operation.state is OperationState.NOT_STARTED:\n",
        test=f"{_AUDIT}::test_a_claim_that_wakes_up_late_claims_nothing",
    ),
    Bug(
        name="collected-and-forgotten",
        breaks="a repayment that has collected is never ended as one that has not",
        file="activities/repayments.py",
        old="            if rows.repayment.collected > 0:\n",
        new="            if rows.repayment.collected < 0:\n",
        test=f"{_AUDIT}::test_giving_up_never_forgets_what_was_collected",
    ),
    Bug(
        name="loan-taken-twice",
        breaks="a busy loan answers repayment_in_progress",
        file="activities/repayment_rows.py",
        old="    return bool(await session.scalar(query))\n",
        new="    return bool(await session.scalar(query)) and loan_id == ''\n",
        test="tests/activities/test_repayments.py::test_a_busy_loan_is_not_taken",
    ),
    Bug(
        name="two-repayments-in-flight",
        breaks="one repayment per loan is in flight",
        file="migrations/versions/0001_the_tables.py",
        old='"uq_repayments_one_in_flight", "repayments", ["loan_id"], unique=True',
        new='"uq_repayments_one_in_flight", "repayments", ["loan_id"], unique=False',
        test="tests/activities/test_constraints.py::test_one_repayment_holds_a_loan",
    ),
    Bug(
        name="residue-of-another-debt",
        breaks="money in flight is never spent on another's debt, nor is the float",
        file="activities/positions.py",
        old="ours=left is not None and debt.principal <= left",
        new="ours=True",
        test=f"{_AUDIT}::test_the_float_pays_no_other_debt",
    ),
    Bug(
        name="excess-kept",
        breaks="what was collected is repaid or refunded, to the base unit",
        file="activities/repayments.py",
        old="            _check_all_accounted(rows.repayment, applied)\n",
        new="",
        test="tests/activities/test_repayments.py::test_nothing_collected_is_left_over",
    ),
    Bug(
        name="short-payoff-paid-by-the-platform",
        breaks="a payoff adds residues only where what was collected covered the debt",
        file="workflows/repay.py",
        old="        if collected.covers_debt and repaid > 0:\n",
        new="        if repaid > 0:\n",
        test=f"{_AUDIT}::test_a_payoff_that_is_funded_short_is_a_partial_repayment",
    ),
    Bug(
        name="closed-with-a-debt",
        breaks="REPAID only where the chain says zero",
        file="activities/applying.py",
        old="chains_zero = debt.outstanding == 0 and",
        new="chains_zero = debt.outstanding <= 10**6 and",
        test="tests/activities/test_repayments.py::test_a_loan_is_repaid_at_zero",
    ),
    Bug(
        name="residue-above-the-cap",
        breaks="the platform pays residues up to a cap; above it, it is a partial repayment",
        file="workflows/legs.py",
        old="not residue.ours or spent + owed > cap",
        new="not residue.ours",
        test="tests/workflows/test_residues.py::test_a_residue_above_the_cap_is_not_paid",
    ),
    Bug(
        name="debt-of-a-lagging-node",
        breaks="a debt is asked of a node that has seen the operation's last leg",
        file="activities/transactions.py",
        old="        if head.number < asked.at_least_block:\n            raise NodeLags(head.number, asked.at_least_block)\n",
        new="",
        test="tests/workflows/test_residues.py::test_a_node_that_is_behind_knows_no_debt",
    ),
    Bug(
        name="refusal-of-another-block",
        breaks="a repayment is refused only at a block at which the vault's allowance is there",
        file="chain/simulating.py",
        old="_ROUNDS = 2",
        new="_ROUNDS = 1",
        test="tests/chain/test_simulating.py::test_a_node_that_is_early_for_a_while",
    ),
]
