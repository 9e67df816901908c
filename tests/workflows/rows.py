"""The rows of the two tables of money.md, sections 5 and 6, by their first columns, and the tests that walk each.

``test_rows.py`` sees that every row has one and that each is there. A test is named by its module in this folder and its name.
"""

from collections.abc import Mapping
from types import MappingProxyType

BORROW: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "key, scope, grant, credit line, limits, fee": (
            "test_borrow_table.test_refused_in_the_head",
            "test_borrow_table.test_a_line_granted_to_another_partner",
        ),
        "partner suspended, key or grant revoked, cancel asked before PREPARED": (
            "test_borrow_table.test_partner_suspended_before_prepared",
            "test_borrow_table.test_cancelled_before_prepared",
            "test_borrow_delays.test_key_or_grant_revoked_before_prepared",
            "test_operators.test_cancel_before_the_borrow_has_a_nonce",
        ),
        "simulation of `borrow` reverts": ("test_borrow_table.test_simulation_of_borrow_reverts",),
        "`borrow` sent, outcome unknown": ("test_borrow_delays.test_borrow_sent_with_an_unknown_outcome",),
        "`borrow` FINAL_REVERTED / CANCELLED": (
            "test_borrow_table.test_borrow_reverts_on_chain",
            "test_borrow_delays.test_borrow_is_cancelled_on_chain",
        ),
        "`borrow` HELD": ("test_borrow_delays.test_borrow_is_held",),
        "recording a FINAL borrow": ("test_borrow_delays.test_recording_a_final_borrow_is_retried_for_ever",),
        "`settle` can still succeed": (
            "test_borrow_table.test_usdc_paused_for_a_while",
            "test_borrow_delays.test_settle_is_held",
        ),
        "settle deadline passed": (
            "test_borrow_table.test_settle_deadline",
            "test_operators.test_cancel_at_the_settle_deadline_undoes_the_borrow",
        ),
        "`settle` cannot succeed": ("test_borrow_table.test_settlement_address_blacklisted",),
        "`unwind` fails too": ("test_borrow_table.test_unwind_fails_too",),
        "recording after a FINAL settle": (
            "test_borrow_delays.test_recording_after_a_final_settle_is_retried_for_ever",
        ),
        "webhook": ("test_webhook.test_a_webhook_that_fails_undoes_nothing",),
    }
)

REPAY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "validation, amount above the debt, no funding (pull)": (
            "test_repay_table.test_amount_above_the_debt",
            "test_repay_table.test_no_funding_by_pull",
        ),
        "the same with proof": (
            "test_repay_table.test_validation_fails_with_a_proof",
            "test_repay_table.test_transfer_made_for_another_partner",
        ),
        "proof not found": (
            "test_repay_table.test_proof_not_found",
            "test_repay_delays.test_a_transfer_that_arrives_after_it_was_given_up",
        ),
        "any leg HELD, or past its deadline": (
            "test_repay_delays.test_any_leg_is_held",
            "test_repay_delays.test_a_leg_past_its_deadline",
        ),
        "`collect` reverts": ("test_repay_table.test_collect_reverts",),
        "`collect` unknown": ("test_repay_delays.test_collect_with_an_unknown_outcome",),
        "`repay` reverts after collection": (
            "test_repay_table.test_repay_refused_after_collection",
            "test_repay_delays.test_a_repayment_that_ended_says_when_and_why",
        ),
        "debt fell meanwhile": ("test_repay_table.test_debt_fell_meanwhile",),
        "`refund` fails": ("test_repay_table.test_refund_fails",),
        "all good": (
            "test_repay_table.test_payoff_by_pull",
            "test_repay_table.test_partial_repayment_by_pull",
            "test_repay_table.test_repayment_by_proof",
            "test_repay_table.test_payoff_by_proof_refunds_the_excess",
        ),
    }
)
