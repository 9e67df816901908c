"""Bugs of what counts as done on chain: receipts, depth, logs, and USDC that came in by itself."""

from tests.planted.bug import Bug

_VERDICTS = "chain/verdicts.py"
_INBOUND = "chain/inbound.py"

BUGS = [
    Bug(
        name="reverted-receipt-taken-for-success",
        breaks="a failed call is never success",
        file=_VERDICTS,
        old="    if not mined.receipt.succeeded:\n        return TransactionState.FINAL_REVERTED, None\n",
        new="",
        test="tests/chain/test_verdicts.py::test_the_receipt_says_which_attempt_won",
    ),
    Bug(
        name="cancel-taken-for-success",
        breaks="the final receipt says whether the leg or its cancellation won",
        file=_VERDICTS,
        old="    if mined.kind is AttemptKind.CANCEL:\n        return TransactionState.FINAL_CANCELLED, None\n",
        new="",
        test="tests/chain/test_verdicts.py::test_the_receipt_says_which_attempt_won",
    ),
    Bug(
        name="final-one-block-early",
        breaks="FINAL means that the receipt's block is at the required depth",
        file="chain/finality.py",
        old="return head.number - self.confirmations + 1",
        new="return head.number - self.confirmations + 2",
        test="tests/chain/lane/test_faults.py::test_a_receipt_is_not_final_before_its_depth",
    ),
    Bug(
        name="canonical-hash-not-checked",
        breaks="FINAL means that the receipt's block is still canonical",
        file=_VERDICTS,
        old="if header is not None and header.hash == receipt.block_hash:",
        new="if header is not None:",
        test="tests/chain/test_verdicts.py::test_a_receipt_counts_only_in_a_block_that_the_chain_has",
    ),
    Bug(
        name="lagging-node-taken-for-a-reorg",
        breaks="a null answer behind a load balancer proves nothing",
        file=_VERDICTS,
        old="    return header is not None and header.hash != leg.block_hash\n",
        new="    return header is None or header.hash != leg.block_hash\n",
        test="tests/chain/test_verdicts.py::test_only_another_block_in_its_place_takes_a_leg_back",
    ),
    Bug(
        name="reorg-not-noticed",
        breaks="a reorg takes MINED back to BROADCAST",
        file="chain/watching.py",
        old="gone = [leg.id for leg in legs if left_the_chain(leg, evidence)]",
        new="gone = [leg.id for leg in legs if left_the_chain(leg, evidence) and leg.block_number is None]",
        test="tests/chain/lane/test_faults.py::test_a_reorg_takes_a_mined_leg_back",
    ),
    Bug(
        name="logs-not-compared",
        breaks="FINAL_OK demands the exact expected logs",
        file=_VERDICTS,
        old="    mismatch = logs_match(expected_logs, mined.receipt.logs, usdc, wallet)\n",
        new="    mismatch = None\n",
        test="tests/chain/test_verdicts.py::test_success_without_its_logs_is_held",
    ),
    Bug(
        name="unplanned-transfer-overlooked",
        breaks="USDC that moves to or from the wallet without being expected is for a person",
        file="chain/legs.py",
        old="if log.log_index not in explained and _moves_usdc_of(log, usdc, wallet):",
        new="if log.log_index not in explained and log.address != usdc and _moves_usdc_of(log, usdc, wallet):",
        test="tests/chain/lane/test_lane.py::test_an_unexpected_movement_holds_the_leg",
    ),
    Bug(
        name="own-leg-credited-as-inbound",
        breaks="a transaction of ours belongs to its leg",
        file=_INBOUND,
        old="        return ours | moved\n",
        new="        return moved - ours\n",
        test="tests/chain/lane/test_inbound.py::test_our_own_transactions_are_their_legs",
    ),
    Bug(
        name="inbound-credited-before-it-is-final",
        breaks="an inbound transfer is a liability once FINAL",
        file=_INBOUND,
        old="        final = await config.finality.newest_block(self._node, head)\n",
        new="        final = head.number\n",
        test="tests/chain/lane/test_inbound.py::test_inbound_transfers_wait_for_their_depth",
    ),
    Bug(
        name="inbound-credited-twice",
        breaks="every inbound transfer becomes one row and one movement",
        file=_INBOUND,
        old="        if row_id is None:\n            return\n",
        new="",
        test="tests/chain/lane/test_inbound.py::test_a_transfer_becomes_a_liability_once",
    ),
    Bug(
        name="moved-transfer-credited-again",
        breaks="a transfer that was recorded is never credited a second time",
        file=_INBOUND,
        old="        return ours | moved\n",
        new="        return ours\n",
        test="tests/chain/lane/test_inbound.py::test_a_transfer_that_moved_is_not_credited_twice",
    ),
]
