"""Whose credit line a partner may borrow on: what the user signs, and the grants that partners hold."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Path, Query, status

from api.answers import GrantAnswer, GrantsAnswer, TypedDataAnswer
from api.auth import Borrower, Reader
from api.bodies import GrantBody, TypedDataBody
from api.deps import ReadSessionDep, ReceivedBody, ResourcesDep, SessionDep
from api.docs import ALWAYS, BODY, KEYED, LINE, ON_CHAIN, READS, problems
from api.errors import InvalidRequest
from api.gate import PartnerRoute
from api.grants import consent_of, grants_page, prove_grant, revoke_grant, store_grant
from models.errors import GrantExpired, GrantInvalid, GrantNonceUsed, GrantNotFound

router = APIRouter(prefix="/v1/grants", tags=["grants"], route_class=PartnerRoute)

_ULID = r"^grant_[0-9A-Z]{26}$"
GrantId = Annotated[str, Path(pattern=_ULID, examples=["grant_01JV9Y6E0SVH1Q5C3M2N8P4R7T"])]
Cursor = Annotated[
    str | None,
    Query(pattern=_ULID, description="next_cursor of the page before", examples=["grant_01JV9Y6E0SVH1Q5C3M2N8P4R7T"]),
]
Size = Annotated[int, Query(ge=1, le=200, description="grants on a page", examples=[50])]


@router.post(
    "/typed-data",
    operation_id="makeGrantTypedData",
    summary="What a user signs",
    responses=problems(*KEYED, *BODY, *ALWAYS),
)
async def make_typed_data(
    body: TypedDataBody, received: ReceivedBody, caller: Borrower, resources: ResourcesDep
) -> TypedDataAnswer:
    """Stores nothing. Hand the answer to the user's wallet (``eth_signTypedData_v4``)."""
    del received  # asked for so that its form is checked
    nonce = secrets.randbits(128) if body.nonce is None else body.nonce
    consent = consent_of(resources, caller.partner_id, body, nonce)
    return TypedDataAnswer.model_validate(consent.typed_data())


@router.post(
    "",
    operation_id="createGrant",
    summary="Hand in a user's signed consent",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*KEYED, *BODY, GrantInvalid, GrantExpired, GrantNonceUsed, *LINE, *ON_CHAIN, *ALWAYS),
)
async def create_grant(
    body: GrantBody, received: ReceivedBody, caller: Borrower, resources: ResourcesDep
) -> GrantAnswer:
    """The signature must be the line owner's, over exactly these fields; each nonce of a wallet counts once."""
    del received  # asked for so that its form is checked
    grant = await prove_grant(resources, caller.partner_id, body)
    async with resources.transaction() as session:
        return await store_grant(session, grant)


@router.get(
    "",
    operation_id="listGrants",
    summary="The partner's grants, newest first",
    responses=problems(*KEYED, InvalidRequest, *READS),
)
async def list_grants(caller: Reader, session: ReadSessionDep, cursor: Cursor = None, limit: Size = 50) -> GrantsAnswer:
    page, following = await grants_page(session, caller.partner_id, cursor, limit)
    return GrantsAnswer(grants=page, next_cursor=following)


@router.delete(
    "/{grant_id}",
    operation_id="revokeGrant",
    summary="Give a grant up",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*KEYED, InvalidRequest, GrantNotFound, *ALWAYS),
)
async def delete_grant(grant_id: GrantId, caller: Borrower, session: SessionDep) -> None:
    """It stops every borrow on it whose contract call was not prepared yet. Again is 204 again."""
    await revoke_grant(session, caller.partner_id, grant_id)
