"""Bugs of the store of legs and of its tables: which generations may be, what they may take, who may change them."""

from tests.planted.bug import Bug

_TABLES = "migrations/versions/0001_the_tables.py"
_STORE = "chain/transactions.py"
_LIVE_OR_OK = '["operation_id", "exclusive_leg"],\n        unique='
_ONE_NONCE = """
        sa.UniqueConstraint("chain_id", "signer", "nonce", name=op.f("uq_chain_transactions_chain_id_signer_nonce")),
"""

BUGS = [
    Bug(
        name="no-compare-and-set",
        breaks="every transition is a compare-and-set under the row lock",
        file="chain/transitions.py",
        old='_LEGS.c.id == bindparam("row_id"), from_there)',
        new='_LEGS.c.id == bindparam("row_id"), or_(True, from_there))',
        test="tests/chain/lane/test_transitions.py::test_a_transition_starts_only_where_it_may",
    ),
    Bug(
        name="abandoned-without-compare-and-set",
        breaks="abandoning is a compare-and-set from QUEUED",
        file=_STORE,
        old="    if any(row.state is not TransactionState.QUEUED for row in open_rows):\n        return False\n",
        new="    if any(row.state is not TransactionState.QUEUED for row in open_rows):\n        return True\n",
        test="tests/chain/lane/test_store.py::test_what_may_have_its_effect_is_not_given_up",
    ),
    Bug(
        name="no-generation-index",
        breaks="at most one generation of a leg is live or FINAL_OK",
        file=_TABLES,
        old=f"{_LIVE_OR_OK}True",
        new=f"{_LIVE_OR_OK}False",
        test="tests/activities/test_leg_constraints.py::test_one_generation_is_alive",
    ),
    Bug(
        name="generation-while-the-last-is-alive",
        breaks="a new generation is inserted only where the last one is terminal and not FINAL_OK",
        file=_STORE,
        old="or (last is not None and last.state not in WITHOUT_EFFECT_STATES)",
        new="or (last is not None and last.state is TransactionState.QUEUED)",
        test="tests/machines/test_legs.py::test_any_order_of_steps",
    ),
    Bug(
        name="payout-and-unwind-both-alive",
        breaks="settle and unwind can never both be alive",
        file=_TABLES,
        old="CASE WHEN leg IN ('settle', 'unwind') THEN 'settle|unwind' ELSE leg END",
        new="CASE WHEN leg IN ('settle') THEN 'settle|unwind' ELSE leg END",
        test="tests/activities/test_leg_constraints.py::test_paid_out_or_undone",
    ),
    Bug(
        name="one-nonce-for-two",
        breaks="a nonce is used once",
        file=_TABLES,
        old=_ONE_NONCE,
        new="\n",
        test="tests/activities/test_leg_constraints.py::test_a_nonce_is_used_once",
    ),
    Bug(
        name="repay-and-refund-above-collected",
        breaks="repay + refund ≤ collected",
        file=_STORE,
        old="    if planned.amount > left:\n",
        new="    if left <= 0:\n",
        test="tests/chain/lane/test_store.py::test_repay_and_refund_are_at_most_what_was_collected",
    ),
    Bug(
        name="inserted-without-the-operation-s-lock",
        breaks="repay + refund ≤ collected is checked under the operation's lock",
        file=_STORE,
        old="Operation.id == operation_id).with_for_update(key_share=True)",
        new="Operation.id == operation_id)",
        test="tests/chain/lane/test_store.py::test_a_submit_counts_what_another_is_about_to_take",
    ),
    Bug(
        name="no-tombstone",
        breaks="an attempt that stalled and wakes up later finds that it may not send",
        file=_STORE,
        old="    if not rows or rows[-1].call is not None:\n",
        new="    if rows and rows[-1].call is not None:\n",
        test="tests/chain/lane/test_store.py::test_a_stalled_submit_finds_a_tombstone",
    ),
    Bug(
        name="no-tombstone-behind-the-last",
        breaks="giving up rules out the generation that may be on its way",
        file=_STORE,
        old="    if not rows or rows[-1].call is not None:\n",
        new="    if not rows:\n",
        test="tests/chain/lane/test_store.py::test_a_stalled_submit_of_the_next_generation_finds_a_tombstone",
    ),
    Bug(
        name="a-late-refusal-overrules-the-row",
        breaks="a simulation counts only if its own insert won: a retry never judges the operation by its own effect",
        file=_STORE,
        old="""that row's outcome is the answer.\"\"\"
    await lock_operation(session, planned.operation_id)
""",
        new="""that row's outcome is the answer.\"\"\"
    ours = (ChainTransaction.operation_id == planned.operation_id, ChainTransaction.leg == planned.leg)
    await session.execute(update(ChainTransaction).where(*ours).values(state=TransactionState.REFUSED, reason=reason))
""",
        test="tests/chain/lane/test_store.py::test_a_repeated_submit_changes_nothing",
    ),
    Bug(
        name="an-account-that-is-nobody-s",
        breaks="the account charged must be one that is there for legs",
        file="chain/charges.py",
        old="    if account in (accounts.IN_FLIGHT, accounts.SUSPENSE) or",
        new="    if account in (accounts.IN_FLIGHT, accounts.SUSPENSE, accounts.FEE_INCOME) or",
        test="tests/chain/lane/test_store.py::test_money_without_an_account_for_it_does_not_leave",
    ),
    Bug(
        name="two-loans-on-one-position",
        breaks="one non-terminal loan per position across all partners",
        file=_TABLES,
        old='["chain_id", "vault_address", "position_id"],\n        unique=True',
        new='["chain_id", "vault_address", "position_id"],\n        unique=False',
        test="tests/activities/test_constraints.py::test_one_loan_for_each_position",
    ),
    Bug(
        name="two-terminal-events",
        breaks="each finished operation has exactly one terminal event",
        file=_TABLES,
        old='"uq_events_one_terminal",\n        "events",\n        ["operation_id"],\n        unique=True',
        new='"uq_events_one_terminal",\n        "events",\n        ["operation_id"],\n        unique=False',
        test="tests/activities/test_constraints.py::test_one_terminal_event_for_each_operation",
    ),
]
