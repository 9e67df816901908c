"""The vault's allowance over the wallet's USDC: bounded, and renewed by one leg at a time (money.md section 2)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import exists, func, select, update
from ulid import ULID

from chain.alarms import Alarms
from chain.contracts.usdc import Usdc
from chain.election import Office
from chain.errors import Reverted
from chain.legs import PlannedLeg, plan_leg
from chain.transactions import insert_queued
from chain.types import CallRequest
from models.messages.legs import ApproveCall
from models.statuses import LIVE_STATES, IncidentKind, LegName, OperationKind, OperationState, TransactionState
from models.tables.operations import Operation
from models.tables.transactions import ChainTransaction

_AFTER_A_FAILURE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Spender:
    """A QUEUED leg whose USDC the vault will pull, in base units."""

    id: int
    amount: int


class AllowanceKeeper:
    def __init__(self, office: Office, alarms: Alarms) -> None:
        self._term = office.term
        self._node = office.node
        self._config = office.config
        self._log = office.log
        self._alarms = alarms
        self._not_before = asyncio.get_running_loop().time()
        self.question = Usdc(self._config.usdc).allowance(self._config.wallet, self._config.vault)
        """What the vault may take of the wallet's USDC, in base units."""

    async def admit(self, spenders: Sequence[Spender], spent_by_live: int) -> set[int]:
        """Which spenders the mined allowance covers, the earlier ones first, and renews it where it runs low.

        ``spent_by_live`` was read before this reads the chain: a spender that is mined in between is taken off twice,
        and never not at all.
        """
        left = await self._mined() - spent_by_live
        admitted = set()
        waiting = 0
        for spender in spenders:
            if spender.amount <= left:
                left -= spender.amount
                admitted.add(spender.id)
            else:
                waiting += spender.amount
        if waiting or left < self._config.allowance_target // 2:
            await self._renew(max(self._config.allowance_target, waiting + spent_by_live))
        return admitted

    async def approval_ended(self, state: TransactionState) -> None:
        """An approve leg is final: its operation is done. One that failed is not repeated at once."""
        if state is TransactionState.FINAL_OK:
            await self._alarms.close(IncidentKind.APPROVAL_REFUSED, [self._config.lock_name])
        else:
            await self._failed(f"the vault's allowance was not renewed: its transaction is {state}")
        await self.close_operations()

    async def close_operations(self) -> None:
        """Marks the operations of ended approvals DONE."""
        ended = exists().where(
            ChainTransaction.operation_id == Operation.id,
            ChainTransaction.chain_id == self._config.chain_id,
            ChainTransaction.signer == self._config.wallet,
            ChainTransaction.leg == LegName.APPROVE,
            ChainTransaction.state.not_in(LIVE_STATES),
        )
        done = (
            update(Operation)
            .where(Operation.kind == OperationKind.SYSTEM, Operation.state == OperationState.OPEN, ended)
            .values(state=OperationState.DONE, done_at=func.now())
        )
        async with self._term.transaction() as session:
            await session.execute(done, execution_options={"synchronize_session": False})

    async def _mined(self) -> int:
        (allowance,) = await self._node.read(self.question, block="latest")
        return allowance

    async def _renew(self, amount: int) -> None:
        if asyncio.get_running_loop().time() < self._not_before or await self._approval_is_live():
            return
        planned = self._plan(amount)
        try:
            gas = await self._node.simulate(CallRequest(self._config.wallet, planned.target, planned.calldata))
        except Reverted as refusal:
            await self._failed(f"USDC refuses the vault's allowance: {refusal}")
            return
        async with self._term.transaction() as session:
            operation = Operation(
                id=planned.operation_id,
                kind=OperationKind.SYSTEM,
                idempotency_key=planned.operation_id.rpartition(":")[2],
                state=OperationState.OPEN,
            )
            session.add(operation)
            await session.flush()
            await insert_queued(session, planned, gas)
        self._log.info("allowance_renewed", operation_id=planned.operation_id, amount=amount)

    async def _failed(self, detail: str) -> None:
        """Legs that spend the allowance may have to wait: a person is told, and the next try is not at once."""
        self._not_before = asyncio.get_running_loop().time() + _AFTER_A_FAILURE.total_seconds()
        await self._alarms.open(IncidentKind.APPROVAL_REFUSED, self._config.lock_name, detail)

    async def _approval_is_live(self) -> bool:
        live = select(ChainTransaction.id).where(
            ChainTransaction.chain_id == self._config.chain_id,
            ChainTransaction.signer == self._config.wallet,
            ChainTransaction.leg == LegName.APPROVE,
            ChainTransaction.state.in_(LIVE_STATES),
        )
        async with self._term.transaction() as session:
            return await session.scalar(live.limit(1)) is not None

    def _plan(self, amount: int) -> PlannedLeg:
        config = self._config
        return plan_leg(
            ApproveCall(amount=amount),
            operation_id=f"system:approve:{ULID()}",
            leg=LegName.APPROVE,
            generation=1,
            wallet=config.wallet,
            usdc=config.usdc,
            vault=config.vault,
            charges_account=None,
            chain_id=config.chain_id,
        )
