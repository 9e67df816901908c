"""What becomes of a transaction that is not mined: sent again, outbid, or replaced by nothing at its nonce (money.md section 2).

Whatever is newly signed is stored and committed before it is sent, so that a receipt of it can always be found; and while
the signer is paused nothing is newly signed.
"""

from collections.abc import Sequence

from chain.alarms import Alarms
from chain.attempts import AttemptSigner, Effect, StoredAttempt, cancellation, cancellation_request
from chain.election import Office, lock_signer
from chain.errors import Reverted, RpcError
from chain.fees import FeeReader, Fees, raised
from chain.reconcile import Reconciler
from chain.sending import Outbox
from chain.stuck import Stuck, Waiting, read_waiting, replacement_for
from chain.transitions import NewAttempt, replace_attempts
from chain.types import Market
from models.log_lines import whose
from models.statuses import AttemptKind, IncidentKind


class Mender:
    def __init__(self, office: Office, signer: AttemptSigner, outbox: Outbox, fees: FeeReader, alarms: Alarms) -> None:
        self._term = office.term
        self._node = office.node
        self._config = office.config
        self._log = office.log
        self._signer = signer
        self._outbox = outbox
        self._fees = fees
        self._alarms = alarms
        self._reconciler = Reconciler(office, alarms)

    async def mend(self) -> None:
        """One turn: at most one new attempt for each leg."""
        async with self._term.transaction() as session:
            waiting = await read_waiting(session, self._config)
        if not waiting.legs:
            return
        # What is stored goes out whatever may hinder the making of something new.
        await self._outbox.send([leg.again() for leg in waiting.legs if leg.stale])
        if not waiting.paused:
            await self._outbox.send(await self._store(await self._replacements(waiting)))
        await self._reconciler.look([leg for leg in waiting.legs if leg.nonce_seems_used])

    async def _replacements(self, waiting: Waiting) -> list[NewAttempt]:
        market = await self._fees.market()
        wanted = {leg: replacement_for(leg, waiting.lowest_nonce, market) for leg in waiting.legs}
        cancelling = AttemptKind.CANCEL in wanted.values()
        cancel = await self._cancellation() if cancelling else None
        signed = []
        for leg, kind in wanted.items():
            effect = cancel if kind is AttemptKind.CANCEL else leg.payload()
            fees = await self._raised(leg, market) if kind is not None else None
            if effect is not None and fees is not None:
                names = whose(leg.operation_id)
                self._log.warning("leg_replaced", leg=leg.name, nonce=leg.nonce, kind=kind, most=fees.most, **names)
                signed.append(await self._signer.sign(leg.id, leg.nonce, effect, fees))
        return signed

    async def _raised(self, leg: Stuck, market: Market) -> Fees | None:
        """None at the cap: then the best attempt stays the one that is sent, and a person is told."""
        fees = raised(leg.best.fees, market, self._config.max_fee_cap)
        if fees is None:
            await self._alarms.open(IncidentKind.FEE_CAP_REACHED, leg.name, self._at_the_cap(leg, market))
        return fees

    async def _cancellation(self) -> Effect | None:
        """None where the node cannot say what it takes: then cancellations wait, and hold up no bump."""
        try:
            gas = await self._node.simulate(cancellation_request(self._config.wallet))
        except (Reverted, RpcError) as error:
            self._log.warning("cancellation_not_simulated", error=str(error))
            return None
        return cancellation(self._config.wallet, self._config.with_gas_margin(gas))

    def _at_the_cap(self, leg: Stuck, market: Market) -> str:
        return (
            f"nonce {leg.nonce} offers {leg.best.fees.most} wei per gas and waits; a tenth more would be above the cap of "
            f"{self._config.max_fee_cap}. The base fee is {market.base_fee} and the tip {market.tip}."
        )

    async def _store(self, attempts: Sequence[NewAttempt]) -> list[StoredAttempt]:
        if not attempts:
            return []
        async with self._term.transaction() as session:
            if (await lock_signer(session, self._config)).paused:
                return []
            kept = await replace_attempts(session, attempts)
        return [StoredAttempt.of(attempt) for attempt in kept]
