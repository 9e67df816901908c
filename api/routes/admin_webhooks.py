"""Partners' webhook endpoints, for administrators: what fails and why, enabled and disabled, and events sent again."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, status

from api.admin_bodies import ReasonBody
from api.admin_deps import (
    ADMIN,
    ADMIN_READS,
    ADMINISTRATORS_ONLY,
    CHANGES,
    JSON_BODY,
    OF_A_PARTNER,
    ActorDep,
    PartnerIdPath,
    Size,
)
from api.admin_reads import find_partner
from api.deps import ReadSessionDep, SessionDep
from api.docs import problems
from api.events import find_event
from api.gate import AdminRoute
from api.webhook_endpoints import (
    attempts_page,
    changed,
    endpoint_answer,
    endpoints_of,
    find_endpoint,
    redeliver_between,
    redeliver_event,
)
from api.webhook_forms import (
    ENDPOINT_ID,
    EVENT_ID,
    AttemptsAnswer,
    EndpointAnswer,
    EndpointsAnswer,
    RedeliverBody,
    RedeliveryAnswer,
)
from models.errors import EventNotFound, WebhookEndpointDisabled, WebhookEndpointNotFound
from models.statuses import AdminActionKind, DisabledBecause
from models.tables.admin_book import record_action
from models.tables.webhook_book import disable, enable

router = APIRouter(
    prefix="/v1/admin/partners/{partner_id}", tags=["admin"], dependencies=ADMINISTRATORS_ONLY, route_class=AdminRoute
)

EndpointId = Annotated[str, Path(pattern=ENDPOINT_ID, examples=["we_01JV9Y6E0SVH1Q5C3M2N8P4R7T"])]
EventId = Annotated[str, Path(pattern=EVENT_ID, examples=["evt_01JV9Y6E0SVH1Q5C3M2N8P4R7T"])]
_FOUND = problems(*ADMIN, WebhookEndpointNotFound)
_CHANGED = problems(*CHANGES, WebhookEndpointNotFound)


@router.get(
    "/webhook-endpoints",
    operation_id="listPartnerWebhookEndpoints",
    summary="A partner's endpoints",
    responses=problems(*ADMIN_READS, *OF_A_PARTNER),
)
async def list_endpoints(partner_id: PartnerIdPath, session: ReadSessionDep) -> EndpointsAnswer:
    """Whether each is enabled, and since when it fails."""
    await find_partner(session, partner_id)
    rows = await endpoints_of(session, partner_id)
    return EndpointsAnswer(endpoints=[endpoint_answer(row) for row in rows])


@router.get(
    "/webhook-endpoints/{endpoint_id}/attempts",
    operation_id="listPartnerWebhookAttempts",
    summary="What was sent there, and what came of it",
    responses=problems(*ADMIN_READS, WebhookEndpointNotFound),
)
async def list_attempts(
    *,
    partner_id: PartnerIdPath,
    endpoint_id: EndpointId,
    session: ReadSessionDep,
    cursor: Annotated[
        str | None, Query(pattern=r"^wat_[0-9A-Z]{26}$", description="next_cursor of the page before")
    ] = None,
    limit: Size = 50,
) -> AttemptsAnswer:
    """Newest first."""
    endpoint = await find_endpoint(session, partner_id, endpoint_id)
    return await attempts_page(session, endpoint, None, cursor, limit)


@router.post(
    "/webhook-endpoints/{endpoint_id}/disable",
    operation_id="disablePartnerWebhookEndpoint",
    summary="Send nothing more there",
    dependencies=JSON_BODY,
    responses=_CHANGED,
)
async def post_disable(
    *, partner_id: PartnerIdPath, endpoint_id: EndpointId, body: ReasonBody, actor: ActorDep, session: SessionDep
) -> EndpointAnswer:
    """What is on its way there ends. The partner can enable it again."""
    endpoint = await find_endpoint(session, partner_id, endpoint_id, lock=True)
    before = {"state": str(endpoint.state)}
    await disable(session, endpoint, DisabledBecause.ADMINISTRATOR)
    answer = await changed(session, endpoint)
    record_action(
        session,
        actor,
        AdminActionKind.DISABLE_WEBHOOK_ENDPOINT,
        endpoint_id,
        partner_id=partner_id,
        before=before,
        after={"state": str(answer.state)},
        reason=body.reason,
    )
    return answer


@router.post(
    "/webhook-endpoints/{endpoint_id}/enable",
    operation_id="enablePartnerWebhookEndpoint",
    summary="Send there again",
    dependencies=JSON_BODY,
    responses=_CHANGED,
)
async def post_enable(
    *, partner_id: PartnerIdPath, endpoint_id: EndpointId, body: ReasonBody, actor: ActorDep, session: SessionDep
) -> EndpointAnswer:
    """From now on; its incident is closed."""
    endpoint = await find_endpoint(session, partner_id, endpoint_id, lock=True)
    before = {"state": str(endpoint.state)}
    await enable(session, endpoint)
    answer = await changed(session, endpoint)
    record_action(
        session,
        actor,
        AdminActionKind.ENABLE_WEBHOOK_ENDPOINT,
        endpoint_id,
        partner_id=partner_id,
        before=before,
        after={"state": str(answer.state)},
        reason=body.reason,
    )
    return answer


@router.post(
    "/webhook-endpoints/{endpoint_id}/redeliver",
    operation_id="redeliverPartnerEvents",
    summary="Send what happened in a time again",
    status_code=status.HTTP_202_ACCEPTED,
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, WebhookEndpointNotFound, WebhookEndpointDisabled),
)
async def post_redeliver(
    *, partner_id: PartnerIdPath, endpoint_id: EndpointId, body: RedeliverBody, actor: ActorDep, session: SessionDep
) -> RedeliveryAnswer:
    """As the partner itself may."""
    endpoint = await find_endpoint(session, partner_id, endpoint_id, lock=True)
    answer = await redeliver_between(session, endpoint, body)
    asked = {**body.model_dump(mode="json", by_alias=True), "deliveries": answer.deliveries}
    record_action(session, actor, AdminActionKind.REDELIVER_EVENTS, endpoint_id, partner_id=partner_id, after=asked)
    return answer


@router.post(
    "/events/{event_id}/redeliver",
    operation_id="redeliverPartnerEvent",
    summary="Send one event again",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(*ADMIN, EventNotFound),
)
async def post_redeliver_event(
    partner_id: PartnerIdPath, event_id: EventId, actor: ActorDep, session: SessionDep
) -> RedeliveryAnswer:
    """To all endpoints of the partner that are enabled and want it."""
    event = await find_event(session, partner_id, event_id)
    answer = await redeliver_event(session, event, None)
    asked = {"deliveries": answer.deliveries}
    record_action(session, actor, AdminActionKind.REDELIVER_EVENTS, event_id, partner_id=partner_id, after=asked)
    return answer
