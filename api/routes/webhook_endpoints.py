"""Where a partner is told of events (docs/webhooks.md)."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, status

from api.auth import Borrower, Reader
from api.deps import ReadSessionDep, ReceivedBody, ResourcesDep, SessionDep, TraceDep
from api.docs import ALWAYS, BODY, KEYED, READS, problems
from api.errors import InvalidRequest, WebhooksNotConfigured
from api.gate import PartnerRoute
from api.webhook_endpoints import (
    attempts_page,
    change_endpoint,
    changed,
    create_endpoint,
    endpoint_answer,
    endpoints_of,
    find_endpoint,
    ping,
    redeliver_between,
    rotate_secret,
    sealer_of,
)
from api.webhook_forms import (
    ENDPOINT_ID,
    EVENT_ID,
    AttemptsAnswer,
    EndpointAnswer,
    EndpointBody,
    EndpointChangeBody,
    EndpointsAnswer,
    EndpointWithSecretAnswer,
    PingAnswer,
    RedeliverBody,
    RedeliveryAnswer,
)
from models.errors import TooManyWebhookEndpoints, WebhookEndpointDisabled, WebhookEndpointNotFound, WebhookUrlRefused
from models.statuses import DisabledBecause
from models.tables.webhook_book import delete, disable, enable

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["webhooks"], route_class=PartnerRoute)

EndpointId = Annotated[str, Path(pattern=ENDPOINT_ID, examples=["we_01JV9Y6E0SVH1Q5C3M2N8P4R7T"])]
_FOUND = problems(*KEYED, InvalidRequest, WebhookEndpointNotFound, *ALWAYS)


@router.post(
    "",
    operation_id="createWebhookEndpoint",
    summary="Set up an endpoint",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*KEYED, *BODY, WebhookUrlRefused, TooManyWebhookEndpoints, WebhooksNotConfigured, *ALWAYS),
)
async def post_endpoint(
    body: EndpointBody, received: ReceivedBody, caller: Borrower, resources: ResourcesDep, session: SessionDep
) -> EndpointWithSecretAnswer:
    """It is told of what happens from now on; what happened before is sent when it is asked for."""
    del received  # asked for so that its form is checked
    return await create_endpoint(session, resources, caller.partner_id, body)


@router.get(
    "",
    operation_id="listWebhookEndpoints",
    summary="The partner's endpoints",
    responses=problems(*KEYED, *READS),
)
async def list_endpoints(caller: Reader, session: ReadSessionDep) -> EndpointsAnswer:
    """Oldest first; deleted ones are not there."""
    rows = await endpoints_of(session, caller.partner_id)
    return EndpointsAnswer(endpoints=[endpoint_answer(row) for row in rows])


@router.get("/{endpoint_id}", operation_id="getWebhookEndpoint", summary="One endpoint", responses=_FOUND)
async def get_endpoint(endpoint_id: EndpointId, caller: Reader, session: SessionDep) -> EndpointAnswer:
    """Whether it is enabled, and since when it fails."""
    return endpoint_answer(await find_endpoint(session, caller.partner_id, endpoint_id))


@router.patch(
    "/{endpoint_id}",
    operation_id="changeWebhookEndpoint",
    summary="Change URL, filter or description",
    responses=problems(*KEYED, *BODY, WebhookEndpointNotFound, WebhookUrlRefused, *ALWAYS),
)
async def patch_endpoint(
    *,
    endpoint_id: EndpointId,
    body: EndpointChangeBody,
    received: ReceivedBody,
    caller: Borrower,
    resources: ResourcesDep,
    session: SessionDep,
) -> EndpointAnswer:
    """What is on its way goes to the new URL from its next try on."""
    del received  # asked for so that its form is checked
    endpoint = await find_endpoint(session, caller.partner_id, endpoint_id, lock=True)
    return await change_endpoint(session, resources, endpoint, body)


@router.delete(
    "/{endpoint_id}",
    operation_id="deleteWebhookEndpoint",
    summary="Remove an endpoint",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=_FOUND,
)
async def delete_endpoint(endpoint_id: EndpointId, caller: Borrower, session: SessionDep) -> None:
    """Nothing more is sent there, and its secrets are forgotten."""
    await delete(session, await find_endpoint(session, caller.partner_id, endpoint_id, lock=True))


@router.post(
    "/{endpoint_id}/enable", operation_id="enableWebhookEndpoint", summary="Send there again", responses=_FOUND
)
async def post_enable(endpoint_id: EndpointId, caller: Borrower, session: SessionDep) -> EndpointAnswer:
    """From now on. Ask for what it missed with ``redeliver``."""
    endpoint = await find_endpoint(session, caller.partner_id, endpoint_id, lock=True)
    await enable(session, endpoint)
    return await changed(session, endpoint)


@router.post(
    "/{endpoint_id}/disable", operation_id="disableWebhookEndpoint", summary="Send nothing more", responses=_FOUND
)
async def post_disable(endpoint_id: EndpointId, caller: Borrower, session: SessionDep) -> EndpointAnswer:
    """What is on its way there ends. Everything can be read at ``GET /v1/events`` meanwhile."""
    endpoint = await find_endpoint(session, caller.partner_id, endpoint_id, lock=True)
    await disable(session, endpoint, DisabledBecause.PARTNER)
    return await changed(session, endpoint)


@router.post(
    "/{endpoint_id}/rotate-secret",
    operation_id="rotateWebhookSecret",
    summary="Get a new secret",
    responses=problems(*KEYED, InvalidRequest, WebhookEndpointNotFound, WebhooksNotConfigured, *ALWAYS),
)
async def post_rotate_secret(
    endpoint_id: EndpointId, caller: Borrower, resources: ResourcesDep, session: SessionDep
) -> EndpointWithSecretAnswer:
    """Both sign until the old one expires, so that no message fails while you change it."""
    endpoint = await find_endpoint(session, caller.partner_id, endpoint_id, lock=True)
    return await rotate_secret(session, sealer_of(resources), endpoint, resources.settings.webhook_secret_overlap)


@router.post(
    "/{endpoint_id}/test",
    operation_id="testWebhookEndpoint",
    summary="Send a signed ping",
    status_code=status.HTTP_202_ACCEPTED,
    responses=_FOUND,
)
async def post_test(endpoint_id: EndpointId, caller: Borrower, trace: TraceDep, session: SessionDep) -> PingAnswer:
    """One try, also to an endpoint that is disabled. What came of it is among the endpoint's attempts within seconds."""
    endpoint = await find_endpoint(session, caller.partner_id, endpoint_id, lock=True)
    return PingAnswer(event_id=await ping(session, endpoint, trace.id))


@router.get(
    "/{endpoint_id}/attempts",
    operation_id="listWebhookAttempts",
    summary="What was sent there, and what came of it",
    responses=problems(*KEYED, InvalidRequest, WebhookEndpointNotFound, *READS),
)
async def list_attempts(
    *,
    endpoint_id: EndpointId,
    caller: Reader,
    session: ReadSessionDep,
    event_id: Annotated[str | None, Query(pattern=EVENT_ID, examples=["evt_01JV9Y6E0SVH1Q5C3M2N8P4R7T"])] = None,
    cursor: Annotated[
        str | None, Query(pattern=r"^wat_[0-9A-Z]{26}$", description="next_cursor of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="attempts on a page", examples=[50])] = 50,
) -> AttemptsAnswer:
    """Newest first, with status, latency and the first bytes of each answer."""
    endpoint = await find_endpoint(session, caller.partner_id, endpoint_id)
    return await attempts_page(session, endpoint, event_id, cursor, limit)


@router.post(
    "/{endpoint_id}/redeliver",
    operation_id="redeliverEvents",
    summary="Send what happened in a time again",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(*KEYED, *BODY, WebhookEndpointNotFound, WebhookEndpointDisabled, *ALWAYS),
)
async def post_redeliver(
    endpoint_id: EndpointId, body: RedeliverBody, received: ReceivedBody, caller: Borrower, session: SessionDep
) -> RedeliveryAnswer:
    """All that the endpoint has not taken yet, and wants by its filter."""
    del received  # asked for so that its form is checked
    endpoint = await find_endpoint(session, caller.partner_id, endpoint_id, lock=True)
    return await redeliver_between(session, endpoint, body)
