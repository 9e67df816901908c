"""Bugs of what becomes of a transaction that is not mined: bumped, cancelled, reconciled, held and resolved."""

from tests.planted.bug import Bug

_MENDING = "chain/mending.py"
_FEES = "chain/fees.py"
_RECONCILE = "chain/reconcile.py"
_HOLDS = "chain/holds.py"
_BUMPS = "tests/chain/lane/test_bumps.py"

BUGS = [
    Bug(
        name="bump-sent-before-it-is-stored",
        breaks="a bump is stored before it is sent",
        file=_MENDING,
        old="            await self._outbox.send(await self._store(await self._replacements(waiting)))\n",
        new="            made = await self._replacements(waiting)\n"
        "            await self._node.send_raw([each.raw for each in made])\n"
        "            await self._outbox.send(await self._store(made))\n",
        test=f"{_BUMPS}::test_a_bump_is_stored_before_it_is_sent",
    ),
    Bug(
        name="bump-too-small",
        breaks="a bump raises both fees by at least 10%",
        file=_FEES,
        old="_RAISE_PERCENT = 10\n",
        new="_RAISE_PERCENT = 9\n",
        test=f"{_BUMPS}::test_bumps_satisfy_a_strict_pool",
    ),
    Bug(
        name="bump-of-one-fee",
        breaks="a bump raises both fees",
        file=_FEES,
        old="max(least.priority, market.tip)",
        new="market.tip",
        test=f"{_BUMPS}::test_bumps_satisfy_a_strict_pool",
    ),
    Bug(
        name="bumped-above-the-cap",
        breaks="bumps end at a cap that pages a person",
        file=_FEES,
        old="    if least.most > cap:\n        return None\n",
        new="    cap = max(cap, least.most)\n",
        test=f"{_BUMPS}::test_the_cap_pages_a_person_and_keeps_the_best_attempt_alive",
    ),
    Bug(
        name="bumped-while-paused",
        breaks="nothing is newly signed while the signer is paused",
        file=_MENDING,
        old="            if (await lock_signer(session, self._config)).paused:\n                return []\n",
        new="",
        test="tests/chain/lane/test_locks.py::test_a_pause_while_a_bump_is_signed_stops_it",
    ),
    Bug(
        name="bumped-at-a-new-nonce",
        breaks="a bump keeps its nonce",
        file=_MENDING,
        old="signed.append(await self._signer.sign(leg.id, leg.nonce, effect, fees))",
        new="signed.append(await self._signer.sign(leg.id, leg.nonce + len(leg.attempts), effect, fees))",
        test=f"{_BUMPS}::test_bumps_satisfy_a_strict_pool",
    ),
    Bug(
        name="payload-revived-after-its-cancellation",
        breaks="a leg that can no longer be sent is cancelled at its nonce",
        file="chain/stuck.py",
        old="        return max(self.attempts, key=lambda attempt: attempt.kind is AttemptKind.CANCEL).kind\n",
        new="        return AttemptKind.PAYLOAD\n",
        test="tests/chain/lane/test_cancels.py::test_only_the_cancellation_is_bumped",
    ),
    Bug(
        name="gap-not-filled",
        breaks="nonce too high: our lower nonces are sent again, in order",
        file="chain/sending.py",
        old="        if gaps:\n",
        new="        if gaps and max(gaps) < 0:\n",
        test=f"{_BUMPS}::test_a_gap_is_filled_in_order",
    ),
    Bug(
        name="stolen-on-null-receipts",
        breaks="a null receipt behind a load balancer proves nothing",
        file=_RECONCILE,
        old="                if by.tx_hash not in ours\n",
        new="",
        test="tests/chain/lane/test_stolen.py::test_null_receipts_alone_prove_no_theft",
    ),
    Bug(
        name="stolen-before-it-is-final",
        breaks="a nonce is called stolen only when the account's nonce at the finalized block is above it",
        file=_RECONCILE,
        old="        number = await self._config.finality.newest_block(self._node, await self._node.head())\n",
        new="        number = (await self._node.head()).number\n",
        test="tests/chain/lane/test_stolen.py::test_a_stolen_nonce_holds_the_leg_once_it_is_final",
    ),
    Bug(
        name="foreign-nonces-overlooked",
        breaks="nonces are contiguous, each ours: a key that is used elsewhere stops the signer",
        file="chain/preparing.py",
        old="        if market.nonce <= next_nonce:\n",
        new="        if market.nonce >= 0:\n",
        test="tests/chain/lane/test_stolen.py::test_a_key_that_was_used_elsewhere_stops_the_signer",
    ),
    Bug(
        name="hold-accepted-before-it-is-final",
        breaks="HELD becomes FINAL only on receipt evidence",
        file=_HOLDS,
        old="    _demand_depth(mined)\n    state = _accepted_state(mined)\n",
        new="    state = _accepted_state(mined)\n",
        test="tests/chain/lane/test_holds.py::test_a_receipt_must_be_final",
    ),
    Bug(
        name="hold-resolved-by-another-nonce",
        breaks="HELD becomes FINAL only on evidence of the leg's own nonce",
        file=_HOLDS,
        old="if (foreign.sender, foreign.nonce) != (held.row.signer, held.row.nonce):",
        new="if foreign.sender != held.row.signer:",
        test="tests/chain/lane/test_holds.py::test_evidence_must_be_of_the_legs_own_nonce",
    ),
    Bug(
        name="hold-resolved-from-any-state",
        breaks="a hold is resolved by a compare-and-set from HELD",
        file="chain/transitions.py",
        old="    await _back_to_broadcast(session, {TransactionState.HELD}, ids)\n",
        new="    await _back_to_broadcast(session, set(TransactionState), ids)\n",
        test="tests/machines/test_legs.py::test_any_order_of_steps",
    ),
]
