"""Who may borrow live: a partner that is verified and has signed its contract, asked when a borrow is decided."""

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from activities.partners import PartnerActivities
from models.errors import PartnerNotCleared
from models.messages.borrow import AuthorizeBorrow, BorrowRequest
from models.messages.repay import AuthorizeRepayment
from models.statuses import OperationKind, Scope
from models.tables.partners import ApiKey
from models.tables.session import Transaction
from tests import factories as make

BORROW = BorrowRequest(
    partner_loan_id="L",
    oaid_token_id=1,
    user_wallet=make.USER,
    amount=make.USD,
    loan_duration=1,
    number_of_installments=1,
)


async def _asked(session: AsyncSession, kind: OperationKind, **clearance: bool) -> str:
    """An operation of a new partner with a key of all scopes and a grant; its id."""
    partner = await make.new_partner(session, **clearance)
    await make.new_grant(session, partner)
    key = ApiKey(
        id=make.unique("key"), partner_id=partner.id, prefix="k", secret_hash=make.unique("h"), scopes=[*Scope]
    )
    session.add(key)
    await session.flush()
    return (await make.new_operation(session, partner, kind=kind, api_key_id=key.id)).id


def _partners(transaction: Transaction, *, live: bool) -> PartnerActivities:
    return PartnerActivities(transaction, make.CHAIN_ID, make.OAID, demands_clearance=live)


@pytest.mark.parametrize(
    "clearance", [{}, {"kyc_verified": True}, {"contract_signed": True}], ids=["neither", "unsigned", "unverified"]
)
async def test_a_partner_that_is_not_cleared_borrows_nothing_live(
    transaction: Transaction, clearance: dict[str, bool]
) -> None:
    """Half a clearance is none."""
    async with transaction() as session:
        operation_id = await _asked(session, OperationKind.BORROW, **clearance)
    with pytest.raises(PartnerNotCleared):
        await _partners(transaction, live=True).authorize_partner(
            AuthorizeBorrow(operation_id=operation_id, request=BORROW)
        )


@pytest.mark.parametrize(("live", "cleared"), [(True, True), (False, False)], ids=["live", "sandbox"])
async def test_a_cleared_partner_borrows_and_a_sandbox_asks_nobody(
    transaction: Transaction, *, live: bool, cleared: bool
) -> None:
    """Where no money is real, a partner may borrow before anybody has looked at it."""
    async with transaction() as session:
        operation_id = await _asked(session, OperationKind.BORROW, kyc_verified=cleared, contract_signed=cleared)
    asked = AuthorizeBorrow(operation_id=operation_id, request=BORROW)
    assert (await _partners(transaction, live=live).authorize_partner(asked)).fee_bps == 50


async def test_what_is_owed_may_be_repaid_without_a_clearance(transaction: Transaction) -> None:
    """A partner whose clearance was withdrawn still repays."""
    async with transaction() as session:
        operation_id = await _asked(session, OperationKind.REPAY)
    asked = AuthorizeRepayment(operation_id=operation_id)
    assert (await _partners(transaction, live=True).authorize_repayment(asked)).partner_id.startswith("partner")
