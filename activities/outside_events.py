"""The vault's events as movements of a position's debt: what each one says that was owed more, or less, or no more."""

from dataclasses import dataclass

from chain.contracts.vault_events import (
    LIQUIDATION_SETTLED_EVENT,
    LOAN_REPAID_EVENT,
    POSITION_DEFAULTED_EVENT,
    POSITION_LIQUIDATED_EVENT,
    PRIVATE_ASSET_LIQUIDATION_SETTLED_EVENT,
    USDC_BORROWED_EVENT,
    decode_liquidation_settled,
    decode_loan_repaid,
    decode_position_defaulted,
    decode_position_liquidated,
    decode_private_asset_liquidation_settled,
    decode_usdc_borrowed,
)
from chain.types import Log
from models.statuses import OutsideKind

FOLLOWED = tuple(
    event.topic0
    for event in (
        USDC_BORROWED_EVENT,
        LOAN_REPAID_EVENT,
        POSITION_DEFAULTED_EVENT,
        POSITION_LIQUIDATED_EVENT,
        LIQUIDATION_SETTLED_EVENT,
        PRIVATE_ASSET_LIQUIDATION_SETTLED_EVENT,
    )
)
"""The first topics of the events that are followed."""


@dataclass(frozen=True, slots=True)
class DebtMoved:
    """Amounts in base units; ``principal`` is by how much the principal owed grew, of a liquidation all that it repaid.

    ``remaining_debt`` is None where the event does not say it. A liquidation that is settled leaves none: what the sale did
    not bring in is forgiven (contracts.md).
    """

    position_id: int
    kind: OutsideKind
    principal: int = 0
    interest: int = 0
    remaining_debt: int | None = None


def debt_moved(log: Log) -> DebtMoved | None:
    """None for every other event."""
    return _lent_or_repaid(log) or _gone_bad(log)


def _lent_or_repaid(log: Log) -> DebtMoved | None:
    if (borrowed := decode_usdc_borrowed(log)) is not None:
        return DebtMoved(borrowed.position_id, OutsideKind.BORROW, borrowed.amount)
    if (repaid := decode_loan_repaid(log)) is not None:
        return DebtMoved(
            repaid.position_id, OutsideKind.REPAYMENT, -repaid.principal, repaid.interest, repaid.remaining_debt
        )
    return None


def _gone_bad(log: Log) -> DebtMoved | None:
    if (defaulted := decode_position_defaulted(log)) is not None:
        return DebtMoved(defaulted.position_id, OutsideKind.DEFAULT)
    if (liquidated := decode_position_liquidated(log)) is not None:
        return DebtMoved(liquidated.position_id, OutsideKind.LIQUIDATION)
    settled = decode_liquidation_settled(log) or decode_private_asset_liquidation_settled(log)
    if settled is None:
        return None
    return DebtMoved(settled.position_id, OutsideKind.LIQUIDATION, -settled.debt_repaid, remaining_debt=0)
