"""What has happened: the same events that webhooks carry, for whoever reads instead, or has missed some."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, status

from api.auth import Borrower, Reader
from api.deps import ReadSessionDep, SessionDep
from api.docs import ALWAYS, KEYED, READS, problems
from api.errors import InvalidRequest
from api.events import EventFilter, event_answer, events_page, find_event
from api.fields import MomentIn
from api.gate import PartnerRoute
from api.webhook_endpoints import redeliver_event
from api.webhook_forms import (
    ENDPOINT_ID,
    EVENT_ID,
    SUBSCRIBABLE,
    EventAnswer,
    EventsAnswer,
    EventTypeIn,
    RedeliveryAnswer,
)
from models.errors import EventNotFound, WebhookEndpointDisabled, WebhookEndpointNotFound
from models.statuses import EventType

router = APIRouter(prefix="/v1/events", tags=["events"], route_class=PartnerRoute)

EventId = Annotated[str, Path(pattern=EVENT_ID, examples=["evt_01JV9Y6E0SVH1Q5C3M2N8P4R7T"])]
_ID = r"^[A-Za-z0-9._~:-]{1,200}$"


@router.get(
    "",
    operation_id="listEvents",
    summary="Events, oldest first",
    responses=problems(*KEYED, InvalidRequest, EventNotFound, *READS),
)
async def list_events(
    *,
    caller: Reader,
    session: ReadSessionDep,
    cursor: Annotated[str | None, Query(pattern=EVENT_ID, description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="events on a page", examples=[50])] = 50,
    type_: Annotated[
        list[EventTypeIn] | None,
        Query(
            alias="type",
            max_length=len(SUBSCRIBABLE),
            description="repeat it for several",
            examples=[["loan.borrowed"]],
        ),
    ] = None,
    loan_id: Annotated[str | None, Query(pattern=_ID, examples=["loan_01JV9Y6E0SVH1Q5C3M2N8P4R7T"])] = None,
    operation_id: Annotated[str | None, Query(pattern=_ID, examples=["borrow:acme:loan~loan-2026-000042"])] = None,
    start: Annotated[
        MomentIn | None, Query(alias="from", description="from this moment on", examples=["2026-01-01T00:00:00Z"])
    ] = None,
    end: Annotated[
        MomentIn | None, Query(alias="to", description="before this moment", examples=["2026-01-04T00:00:00Z"])
    ] = None,
) -> EventsAnswer:
    """Keep the cursor of the last page and send it with the next call: no event is ever missed or shown twice so."""
    asked = EventFilter(
        types=[EventType(each) for each in type_ or ()],
        loan_id=loan_id,
        operation_id=operation_id,
        start=start,
        end=end,
    )
    return await events_page(session, caller.partner_id, asked, cursor, limit)


@router.get(
    "/{event_id}",
    operation_id="getEvent",
    summary="One event, and what became of it",
    responses=problems(*KEYED, InvalidRequest, EventNotFound, *ALWAYS),
)
async def get_event(event_id: EventId, caller: Reader, session: SessionDep) -> EventAnswer:
    """With its delivery to each endpoint."""
    return await event_answer(session, await find_event(session, caller.partner_id, event_id))


@router.post(
    "/{event_id}/redeliver",
    operation_id="redeliverEvent",
    summary="Send one event again",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(
        *KEYED, InvalidRequest, EventNotFound, WebhookEndpointNotFound, WebhookEndpointDisabled, *ALWAYS
    ),
)
async def post_redeliver(
    event_id: EventId,
    caller: Borrower,
    session: SessionDep,
    endpoint_id: Annotated[
        str | None,
        Query(
            pattern=ENDPOINT_ID,
            description="to this endpoint; left out: to all that want it",
            examples=["we_01JV9Y6E0SVH1Q5C3M2N8P4R7T"],
        ),
    ] = None,
) -> RedeliveryAnswer:
    """Under the same ``webhook-id``, with all of its tries, also where it had arrived."""
    return await redeliver_event(session, await find_event(session, caller.partner_id, event_id), endpoint_id)
