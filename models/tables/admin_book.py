"""The record of what administrators change: one row, in the transaction that makes the change and never after it."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from models.ids import new_id
from models.statuses import AdminActionKind
from models.tables.administration import AdminAction
from models.tables.base import JsonObject


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change: an administrator by a request, or a command or schedule of the engine, which has no id."""

    name: str
    administrator_id: str | None = None
    trace_id: str | None = None


COMMAND_LINE = Actor("command line")
UPKEEP = Actor("upkeep")


def record_action(
    session: AsyncSession,
    actor: Actor,
    action: AdminActionKind,
    subject: str,
    *,
    partner_id: str | None = None,
    before: JsonObject | None = None,
    after: JsonObject | None = None,
    reason: str | None = None,
) -> None:
    """``before`` and ``after`` hold the fields that changed, as JSON has them, and never a secret or the hash of one."""
    session.add(
        AdminAction(
            id=new_id("act"),
            action=action,
            administrator_id=actor.administrator_id,
            actor=actor.name,
            partner_id=partner_id,
            subject=subject,
            reason=reason,
            before=before,
            after=after,
            trace_id=actor.trace_id,
        )
    )
