"""An event's row as it is sent and shown."""

from models.events.catalog import Envelope
from models.tables.operations import Event


def envelope_of(event: Event) -> Envelope:
    return Envelope(
        id=event.id,
        type=event.type,
        version=event.version,
        timestamp=event.created_at,
        operation_id=event.operation_id,
        trace_id=event.trace_id,
        data=event.payload,
    )
