"""Invariant 3: each USDC log of the platform wallet belongs to one leg or inbound transfer, and the ledger knows the sum.

The ledger is of now and the chain of block B, so the ledger's cash is brought to B: what legs moved up to B counts whether
it is posted or not, and what is posted and came after B does not count. Inbound transfers that the lane has not read yet
count by their logs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Row, Select, case, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.audit.evidence import Evidence, Movement
from activities.audit.findings import Breach, Finding
from activities.movements import leg_name
from chain.engine_chain import EngineChain
from models import accounts
from models.statuses import WITHOUT_EFFECT_STATES, IncidentKind, LedgerKind, LedgerPhase, LegName, TransactionState
from models.tables import book
from models.tables.ledger import LedgerTransfer
from models.tables.transactions import ChainAttempt, ChainCursor, ChainTransaction, InboundTransfer

_BRINGS_IN = frozenset({LegName.BORROW, LegName.COLLECT})
_ROWS_AT_A_TIME = 1_000

LegRow = Row[str, int, str, str, int, TransactionState, int, str | None, int | None, int | None]


@dataclass
class Cash:
    """The ledger's cash at B, in base units, and how it comes about."""

    booked: int
    unposted: int = 0
    """Moved up to B by legs, and not posted."""
    later: int = 0
    """Posted, and moved after B."""
    unread: int = 0
    """Came in up to B, and was not read by the lane yet."""

    @property
    def at_block(self) -> int:
        return self.booked + self.unposted - self.later + self.unread


@dataclass(frozen=True, slots=True)
class Transfers:
    """``surplus`` is what the wallet holds above the ledger's cash, ``surplus_booked`` what of earlier ones was booked."""

    finding: Finding
    surplus: int
    surplus_booked: int


async def check_transfers(session: AsyncSession, chain: EngineChain, evidence: Evidence) -> Transfers:
    audit = _TransferAudit(session, chain, evidence, Cash(-await book.balance(session, accounts.PLATFORM_WALLET)))
    await audit.match_legs()
    await audit.find_without_attempt()
    await audit.match_inbound()
    read_up_to = await audit.explain_the_rest()
    surplus = audit.compare_cash(read_up_to)
    booked = select(func.coalesce(func.sum(LedgerTransfer.amount), 0)).where(LedgerTransfer.kind == LedgerKind.SURPLUS)
    return Transfers(audit.finding, surplus, int(await session.scalar(booked) or 0))


class _TransferAudit:
    """Takes each log away that something explains; what is left belongs to nothing."""

    def __init__(self, session: AsyncSession, chain: EngineChain, evidence: Evidence, cash: Cash) -> None:
        self.finding = Finding(
            3, "each USDC log of the wallet has one owner, each final leg its logs; cash is as booked"
        )
        self._session = session
        self._chain = chain
        self._evidence = evidence
        self._cash = cash
        self._left = dict(evidence.movements)
        self._logs = sum(map(len, evidence.movements.values()))
        self._owned = 0
        self._unexplained = 0

    async def match_legs(self) -> None:
        rows = await self._session.stream(
            _legs(self._chain, self._evidence), execution_options={"yield_per": _ROWS_AT_A_TIME}
        )
        async for row in rows:
            self._match_leg(row)

    async def find_without_attempt(self) -> None:
        """A leg that succeeded by a transaction which is not known as its own."""
        attempt = exists().where(
            ChainAttempt.hash == ChainTransaction.result_tx_hash, ChainAttempt.transaction_id == ChainTransaction.id
        )
        query = select(ChainTransaction.id, ChainTransaction.operation_id, ChainTransaction.leg).where(
            *_ours(self._chain), ChainTransaction.state == TransactionState.FINAL_OK, ~attempt
        )
        for row_id, operation_id, leg in await self._session.execute(query):
            detail = f"{leg} of {operation_id} is FINAL_OK by a transaction that is none of its attempts"
            self.finding.broken(f"{operation_id}/{leg}/attempt", detail, f"chain_transactions {row_id}")

    def _match_leg(self, row: LegRow) -> None:
        tx_hash, row_id, _, leg, _, state, amount, result, block, posted = row
        moved = self._left.pop(tx_hash, ())
        if moved:
            self._own(moved)
            self._check_moved(row, sum(each.amount for each in moved))
        elif state is TransactionState.FINAL_OK and tx_hash == result and block is not None:
            if block > self._evidence.block.number:
                self._cash.later += posted or 0
            elif _effect(leg, amount) != 0:
                detail = f"{_name(row)} is final in {tx_hash}, which moved no USDC on chain"
                self.finding.broken(f"{_name(row)}/logs", detail, f"chain_transactions {row_id}")

    def _check_moved(self, row: LegRow, moved: int) -> None:
        tx_hash, row_id, _, leg, _, state, amount, _, _, posted = row
        subject, rows = f"{_name(row)}/moved", (f"chain_transactions {row_id}", f"chain_attempts {tx_hash}")
        if state in WITHOUT_EFFECT_STATES:
            detail = f"{_name(row)} is {state}, and {tx_hash} moved {moved} base units"
            self.finding.broken(subject, detail, *rows, pauses_signer=moved < 0)
        elif state is TransactionState.FINAL_OK and moved != _effect(leg, amount):
            detail = f"{_name(row)} is of {_effect(leg, amount)} base units, and {tx_hash} moved {moved}"
            self.finding.broken(subject, detail, *rows)
        elif posted is not None and (state is not TransactionState.FINAL_OK or posted != moved):
            detail = f"{_name(row)} is {state} and posted with {posted} base units, and {tx_hash} moved {moved}"
            self.finding.broken(subject, detail, *rows)
        if posted is None and state not in WITHOUT_EFFECT_STATES:
            self._cash.unposted += moved

    async def match_inbound(self) -> None:
        rows = await self._session.stream(
            _inbound(self._chain, self._evidence), execution_options={"yield_per": _ROWS_AT_A_TIME}
        )
        async for row_id, tx_hash, log_index, sender, amount, block, booked in rows:
            name, row = f"{tx_hash}/{log_index}", f"inbound_transfers {row_id}"
            if booked != amount:
                self.finding.broken(f"{name}/booked", f"{name} brought {amount} base units; {booked} are booked", row)
            if block > self._evidence.block.number:
                self._cash.later += booked
                continue
            logs = self._left.get(tx_hash, ())
            mine = [each for each in logs if each.log_index == log_index]
            if [(each.party, each.amount, each.block) for each in mine] != [(sender, amount, block)]:
                self.finding.broken(name, f"{name} is booked, and the chain has no such transfer of {amount}", row)
            self._own(mine)
            self._left[tx_hash] = [each for each in logs if each.log_index != log_index]

    async def explain_the_rest(self) -> int | None:
        """What belongs to nothing; returns the block up to which the lane has read inbound transfers."""
        cursor = select(ChainCursor.block_number).where(
            ChainCursor.chain_id == self._chain.chain_id, ChainCursor.address == self._chain.wallet
        )
        read_up_to = await self._session.scalar(cursor)
        for each in (each for logs in self._left.values() for each in logs):
            name = f"{each.tx_hash}/{each.log_index}"
            if each.amount < 0:
                detail = f"{name} took {-each.amount} base units from the wallet to {each.party} and belongs to nothing"
                self.finding.broken(name, detail, pauses_signer=True)
            elif read_up_to is None or each.block > read_up_to:
                self._cash.unread += each.amount
                self._own([each])
            else:
                detail = f"{name} brought {each.amount} base units from {each.party} and belongs to nothing"
                self.finding.broken(name, detail)
                self._unexplained += each.amount
        return read_up_to

    def compare_cash(self, read_up_to: int | None) -> int:
        """The surplus. What came in by a log that nobody read is none: the lane may read and book it yet."""
        finding, cash, balance = self.finding, self._cash, self._evidence.balance
        finding.compare("USDC logs of the wallet that have an owner", self._logs, self._owned)
        finding.compare("USDC of the wallet: by the ledger, on chain", cash.at_block, balance)
        finding.notes.append(
            f"the ledger's cash: {cash.booked} booked, {cash.unposted:+} by legs that are not posted, "
            f"{-cash.later:+} from after the block, {cash.unread:+} not read by the lane yet"
        )
        if balance < cash.at_block:
            detail = f"the ledger says {cash.at_block} base units of cash, the wallet holds {balance}"
            finding.broken(self._chain.wallet, detail, "ledger platform_wallet", pauses_signer=True)
            return 0
        if read_up_to is None:
            finding.notes.append("nobody has read inbound transfers yet, so no surplus is called one")
            return 0
        surplus = max(0, balance - cash.at_block - self._unexplained)
        if surplus > 0:
            detail = f"the wallet holds {balance} base units, {surplus} more than the ledger's cash"
            finding.breaches.append(Breach(3, self._chain.wallet, detail, kind=IncidentKind.SURPLUS))
        return surplus

    def _own(self, movements: Sequence[Movement]) -> None:
        self._owned += len(movements)


def _legs(
    chain: EngineChain, evidence: Evidence
) -> Select[str, int, str, str, int, TransactionState, int, str | None, int | None, int | None]:
    """Each attempt of each leg with a nonce, with what the ledger has posted for the leg."""
    into = case((LedgerTransfer.debit_account == accounts.PLATFORM_WALLET, LedgerTransfer.amount), else_=0)
    out = case((LedgerTransfer.credit_account == accounts.PLATFORM_WALLET, LedgerTransfer.amount), else_=0)
    posted = select(func.sum(into - out)).where(
        LedgerTransfer.operation_id == ChainTransaction.operation_id,
        LedgerTransfer.leg == ChainTransaction.leg,
        LedgerTransfer.generation == ChainTransaction.generation,
        LedgerTransfer.phase == LedgerPhase.POSTED,
    )
    mined_at = ChainTransaction.result_block
    return (
        select(
            ChainAttempt.hash,
            ChainTransaction.id,
            ChainTransaction.operation_id,
            ChainTransaction.leg,
            ChainTransaction.generation,
            ChainTransaction.state,
            ChainTransaction.amount,
            ChainTransaction.result_tx_hash,
            ChainTransaction.result_block,
            posted.scalar_subquery(),
        )
        .join(ChainTransaction, ChainTransaction.id == ChainAttempt.transaction_id)
        .where(*_ours(chain), or_(mined_at.is_(None), mined_at >= evidence.first_block))
    )


def _ours(chain: EngineChain) -> tuple[ColumnElement[bool], ...]:
    return ChainTransaction.chain_id == chain.chain_id, ChainTransaction.signer == chain.wallet


def _inbound(chain: EngineChain, evidence: Evidence) -> Select[int, str, int, str, int, int, int]:
    booked = (
        select(func.coalesce(func.sum(LedgerTransfer.amount), 0))
        .where(
            LedgerTransfer.inbound_id == InboundTransfer.id,
            LedgerTransfer.debit_account == accounts.PLATFORM_WALLET,
            LedgerTransfer.phase == LedgerPhase.SINGLE,
        )
        .scalar_subquery()
    )
    return select(
        InboundTransfer.id,
        InboundTransfer.tx_hash,
        InboundTransfer.log_index,
        InboundTransfer.sender,
        InboundTransfer.amount,
        InboundTransfer.block_number,
        booked,
    ).where(InboundTransfer.chain_id == chain.chain_id, InboundTransfer.block_number >= evidence.first_block)


def _effect(leg: str, amount: int) -> int:
    """What a leg that succeeds does to the wallet's USDC."""
    name = leg_name(leg)
    if name is LegName.APPROVE:
        return 0
    return amount if name in _BRINGS_IN else -amount


def _name(row: LegRow) -> str:
    return f"{row[2]}/{row[3]}/{row[4]}"
