"""A user's consent becomes a grant: the signature is checked here, the wallet's ownership of the line on chain."""

from datetime import UTC, datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.answers import GrantAnswer
from api.bodies import GrantBody, TypedDataBody, seconds
from api.resources import Resources
from api.typed_data import Consent
from chain.client import ChainClient
from chain.codec import Function, attempt, checksum
from chain.contracts.oaid import CreditLine, Oaid
from chain.contracts.solvency_vault import Position, SolvencyVault
from chain.errors import MalformedAnswer
from models.errors import (
    CreditLineInactive,
    CreditLineNotFound,
    GrantExpired,
    GrantInvalid,
    GrantNonceUsed,
    GrantNotFound,
    WalletNotOwner,
)
from models.ids import new_id
from models.statuses import GrantEvidence
from models.tables.partners import CreditLineGrant

_IS_VALID_SIGNATURE = Function("isValidSignature(bytes32,bytes)", "bytes4")
_MAGIC = bytes.fromhex("1626ba7e")
"""What a contract wallet answers to say that it did sign (ERC-1271)."""


async def prove_grant(resources: Resources, partner_id: str, body: GrantBody) -> CreditLineGrant:
    """A grant that holds now, not stored yet. Asks the chain, so it must not be called inside a transaction.

    Raises GrantExpired, GrantInvalid, CreditLineNotFound, CreditLineInactive or WalletNotOwner.
    """
    if body.expires_at <= datetime.now(UTC):
        raise GrantExpired(body.expires_at.isoformat())
    consent = consent_of(resources, partner_id, body, body.nonce)
    signature = bytes.fromhex(body.signature[2:])
    scheme = await _prove_signature(resources.chain, consent, signature)
    line = await _owned_line(resources, body)
    return CreditLineGrant(
        id=new_id("grant"),
        partner_id=partner_id,
        chain_id=consent.chain_id,
        oaid_address=consent.oaid_address,
        oaid_token_id=body.oaid_token_id,
        position_id=line.solvency_position_id,
        user_wallet=body.user_wallet,
        max_amount=body.max_amount,
        expires_at=body.expires_at,
        nonce=body.nonce,
        evidence_kind=GrantEvidence.USER_SIGNATURE,
        evidence={"scheme": scheme, "signature": body.signature, "typed_data": consent.typed_data()},
    )


def consent_of(resources: Resources, partner_id: str, body: GrantBody | TypedDataBody, nonce: int) -> Consent:
    settings = resources.settings
    return Consent(
        chain_id=settings.chain_id,
        oaid_address=settings.oaid_address,
        partner_id=partner_id,
        oaid_token_id=body.oaid_token_id,
        user_wallet=body.user_wallet,
        max_amount=body.max_amount,
        expires_at=seconds(body.expires_at),
        nonce=nonce,
    )


async def store_grant(session: AsyncSession, grant: CreditLineGrant) -> GrantAnswer:
    """Raises GrantNonceUsed where this wallet's nonce was used before, by whichever partner."""
    values = {
        column.name: value
        for column in CreditLineGrant.__table__.columns
        if (value := getattr(grant, column.name)) is not None
    }
    stored = await session.scalar(
        insert(CreditLineGrant).values(values).on_conflict_do_nothing().returning(CreditLineGrant)
    )
    if stored is None:
        raise GrantNonceUsed(grant.nonce or 0)
    return grant_answer(stored)


async def revoke_grant(session: AsyncSession, partner_id: str, grant_id: str) -> None:
    """Takes effect on every borrow that has not sent its first leg. Revoking again changes nothing."""
    revoke = (
        update(CreditLineGrant)
        .where(CreditLineGrant.id == grant_id, CreditLineGrant.partner_id == partner_id)
        .values(revoked_at=func.coalesce(CreditLineGrant.revoked_at, func.now()))
        .returning(CreditLineGrant.id)
    )
    if await session.scalar(revoke) is None:
        raise GrantNotFound(grant_id)


async def grants_page(
    session: AsyncSession, partner_id: str, after: str | None, size: int
) -> tuple[list[GrantAnswer], str | None]:
    """Newest first, revoked and expired ones included, and where the next page begins."""
    asked = select(CreditLineGrant).where(CreditLineGrant.partner_id == partner_id)
    if after is not None:
        asked = asked.where(CreditLineGrant.id < after)
    rows = list(await session.scalars(asked.order_by(CreditLineGrant.id.desc()).limit(size + 1)))
    page = [grant_answer(row) for row in rows[:size]]
    return page, page[-1].grant_id if len(rows) > size else None


def grant_answer(grant: CreditLineGrant) -> GrantAnswer:
    return GrantAnswer(
        grant_id=grant.id,
        oaid_token_id=str(grant.oaid_token_id),
        position_id=str(grant.position_id),
        user_wallet=grant.user_wallet,
        max_amount=str(grant.max_amount),
        expires_at=grant.expires_at,
        evidence=grant.evidence_kind,
        nonce=None if grant.nonce is None else str(grant.nonce),
        created_at=grant.created_at,
        revoked_at=grant.revoked_at,
    )


async def _prove_signature(chain: ChainClient, consent: Consent, signature: bytes) -> str:
    if consent.signed_by_account(signature):
        return "EIP-712"
    if await _signed_by_contract(chain, consent, signature):
        return "ERC-1271"
    raise GrantInvalid(
        f"The signature is not one of {consent.user_wallet} over exactly these fields, for this partner on chain "
        f"{consent.chain_id} and OAID {consent.oaid_address}. Have the user sign what POST /v1/grants/typed-data answers."
    )


async def _signed_by_contract(chain: ChainClient, consent: Consent, signature: bytes) -> bool:
    wallet = checksum(consent.user_wallet)
    (code,) = await chain.code([wallet])
    if not code:
        return False
    call = attempt(_IS_VALID_SIGNATURE.call(wallet, (consent.digest(), signature), bytes))
    try:
        (answer,) = await chain.read(call, block=(await chain.head()).number)
    except MalformedAnswer:  # a contract, but no wallet
        return False
    return answer == _MAGIC


async def line_on_record(
    resources: Resources, oaid_token_id: int, user_wallet: str, expires_at: datetime
) -> CreditLine:
    """The line of an administrator's record: the user's now, or the platform wallet's, which holds it for him.

    Asks the chain, so it must not be called inside a transaction.
    Raises GrantExpired, CreditLineNotFound, CreditLineInactive or WalletNotOwner.
    """
    if expires_at <= datetime.now(UTC):
        raise GrantExpired(expires_at.isoformat())
    line, position = await _active_line(resources, oaid_token_id)
    if user_wallet == line.user or resources.settings.platform_wallet in (line.user, position.user):
        return line
    raise WalletNotOwner(oaid_token_id, user_wallet)


async def _active_line(resources: Resources, oaid_token_id: int) -> tuple[CreditLine, Position]:
    """Raises CreditLineNotFound or CreditLineInactive."""
    settings, chain = resources.settings, resources.chain
    head = (await chain.head()).number
    (line,) = await chain.read(Oaid(settings.oaid_address).get_credit_line(oaid_token_id), block=head)
    if not line.exists:
        raise CreditLineNotFound(oaid_token_id)
    vault = SolvencyVault(settings.vault_address)
    (position,) = await chain.read(vault.get_position(line.solvency_position_id), block=head)
    if not line.active:
        raise CreditLineInactive(oaid_token_id)
    return line, position


async def _owned_line(resources: Resources, body: GrantBody) -> CreditLine:
    """The line, which the user's wallet itself owns now. Where the platform wallet does, no signature can count."""
    line, position = await _active_line(resources, body.oaid_token_id)
    if resources.settings.platform_wallet in (line.user, position.user):
        raise GrantInvalid(
            f"The platform wallet holds credit line {body.oaid_token_id}, so a user's signature proves nothing about whose "
            "it is. An administrator's record is needed; contact the operator."
        )
    if line.user != body.user_wallet:
        raise WalletNotOwner(body.oaid_token_id, body.user_wallet)
    return line
