"""An operator's commands: what waits for a person, and what to do about it. docs/runbook.md says when to use which.

PostgreSQL is only read, to list; what changes anything goes through Temporal, where it is checked, recorded and carried out.
Exit status: 0 done; 1 refused, with the words why; 2 a setting is at fault.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from uuid import uuid4

from sqlalchemy import select
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from models.ids import leg_id
from models.messages.operators import (
    CloseIncident,
    HoldResolution,
    OperatorAnswer,
    OperatorCommand,
    Order,
    PauseSigner,
    ResolveHold,
    ResolveSystemHold,
    ResumeSigner,
    WaitsFor,
)
from models.statuses import OperationKind, OperationState, TransactionState
from models.tables.operations import Operation
from models.tables.operators import Incident
from models.tables.session import Transaction, open_database, transactions
from models.tables.transactions import ChainSigner, ChainTransaction
from settings import Settings
from startup import SettingAtFault, check_database, connect_temporal, read_settings
from workflows.hands import OperatorUpdates
from workflows.operate import OperateWorkflow
from workflows.options import LOANS_QUEUE

ANSWERS_WITHIN = timedelta(seconds=30)
SYSTEM = f"{OperationKind.SYSTEM.lower()}:"


@dataclass(frozen=True)
class Desk:
    settings: Settings
    temporal: Client
    transaction: Transaction


class Unanswered(Exception):
    """A command that was refused, or that nobody answered; the words are for the operator."""


Command = Callable[[Desk, argparse.Namespace], Awaitable[str]]
Asked = TypeVar("Asked", bound=OperatorCommand)
Update = UpdateMethodMultiParam[[OperatorUpdates, Asked], OperatorAnswer]


# What waits for a person


async def review(desk: Desk, _: argparse.Namespace) -> str:
    parts = {
        "operations under review": await _operations(desk),
        "holds of the lane's own legs": await _system_holds(desk),
        "open incidents": await _incidents(desk),
        "paused signers": await _signers(desk),
    }
    return "\n".join(line for title, rows in parts.items() for line in (f"{title}: {len(rows)}", *map(_indented, rows)))


def _indented(line: str) -> str:
    return f"  {line}"


async def _operations(desk: Desk) -> list[str]:
    query = select(Operation.id, Operation.review_reason, Operation.received_at).where(
        Operation.state == OperationState.OPEN, Operation.review_reason.is_not(None)
    )
    async with desk.transaction() as session:
        rows = (await session.execute(query.order_by(Operation.received_at))).all()
    return [
        f"{row.id} ({row.received_at:%Y-%m-%d %H:%M}): {row.review_reason}; {await _possible(desk, row.id)}"
        for row in rows
    ]


async def _possible(desk: Desk, operation_id: str) -> str:
    handle = desk.temporal.get_workflow_handle(operation_id)
    try:
        waits: WaitsFor = await handle.query(OperatorUpdates.waits_for, rpc_timeout=ANSWERS_WITHIN)
    except RPCError as error:
        return f"its workflow does not answer ({error.status.name})"
    return f"possible: {', '.join(waits.commands) or 'nothing but to wait'}"


async def _system_holds(desk: Desk) -> list[str]:
    query = (
        select(ChainTransaction)
        .join(Operation, Operation.id == ChainTransaction.operation_id)
        .where(ChainTransaction.state == TransactionState.HELD, Operation.kind == OperationKind.SYSTEM)
    )
    async with desk.transaction() as session:
        rows = await session.scalars(query.order_by(ChainTransaction.id))
        return [f"{leg_id(row.operation_id, row.leg, row.generation)}: {row.held_reason}" for row in rows]


async def _incidents(desk: Desk) -> list[str]:
    query = select(Incident).where(Incident.closed_at.is_(None)).order_by(Incident.opened_at)
    async with desk.transaction() as session:
        return [f"{row.id} {row.kind} {row.subject}: {row.detail}" for row in await session.scalars(query)]


async def _signers(desk: Desk) -> list[str]:
    query = select(ChainSigner).where(ChainSigner.paused_at.is_not(None)).order_by(ChainSigner.address)
    async with desk.transaction() as session:
        return [
            f"{row.address} (chain {row.chain_id}) by {row.paused_by or 'nobody named'}: {row.paused_reason}"
            for row in await session.scalars(query)
        ]


# What to do about it


async def retry(desk: Desk, asked: argparse.Namespace) -> str:
    return await _update(desk, asked.operation, OperatorUpdates.retry_step, _command(asked))


async def cancel(desk: Desk, asked: argparse.Namespace) -> str:
    return await _update(desk, asked.operation, OperatorUpdates.cancel_if_safe, _command(asked))


async def resolve_hold(desk: Desk, asked: argparse.Namespace) -> str:
    hold = ResolveHold(
        operator=asked.operator,
        reason=asked.reason,
        leg=asked.leg,
        generation=asked.generation,
        resolution=HoldResolution(asked.resolution),
        evidence_tx_hash=asked.evidence,
    )
    if asked.operation.startswith(SYSTEM):
        return await _carry_out(desk, ResolveSystemHold(operation_id=asked.operation, **hold.model_dump()))
    return await _update(desk, asked.operation, OperatorUpdates.resolve_hold, hold)


async def pause_signer(desk: Desk, asked: argparse.Namespace) -> str:
    return await _carry_out(desk, PauseSigner(**_of_signer(desk, asked)))


async def resume_signer(desk: Desk, asked: argparse.Namespace) -> str:
    return await _carry_out(desk, ResumeSigner(**_of_signer(desk, asked), despite_held=asked.despite_held))


async def close_incident(desk: Desk, asked: argparse.Namespace) -> str:
    return await _carry_out(
        desk, CloseIncident(operator=asked.operator, reason=asked.reason, incident_id=asked.incident)
    )


def _command(asked: argparse.Namespace) -> OperatorCommand:
    return OperatorCommand(operator=asked.operator, reason=asked.reason)


def _of_signer(desk: Desk, asked: argparse.Namespace) -> dict[str, object]:
    return {
        "operator": asked.operator,
        "reason": asked.reason,
        "chain_id": desk.settings.chain_id,
        "address": asked.address or desk.settings.platform_wallet,
    }


async def _update(desk: Desk, operation_id: str, update: Update[Asked], command: Asked) -> str:
    handle = desk.temporal.get_workflow_handle(operation_id)
    try:
        answer: OperatorAnswer = await handle.execute_update(update, command, rpc_timeout=ANSWERS_WITHIN)
    except WorkflowUpdateFailedError as failed:
        raise Unanswered(_words(failed.cause)) from failed
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise Unanswered(f"{operation_id} has no running workflow; the sweep starts one if it is open") from error
        raise Unanswered(
            f"no answer from its workflow ({error}); 'review' shows whether the command came through"
        ) from error
    return answer.said


async def _carry_out(desk: Desk, order: Order) -> str:
    try:
        answer: OperatorAnswer = await desk.temporal.execute_workflow(
            OperateWorkflow.run,
            order,
            id=f"operate:{order.do}:{uuid4()}",
            task_queue=LOANS_QUEUE,
            execution_timeout=ANSWERS_WITHIN,
        )
    except WorkflowFailureError as failed:
        raise Unanswered(_words(failed.cause)) from failed
    return answer.said


def _words(cause: BaseException | None) -> str:
    return cause.message if isinstance(cause, ApplicationError) else f"not carried out: {cause}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="operate.py", description=__doc__.partition("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("review", help="what waits for a person, and what is possible").set_defaults(do=review)
    for name, do, what in (
        ("retry", retry, "try again what waits for an operator"),
        ("cancel", cancel, "give up or undo the operation, where that is safe"),
    ):
        _acting(commands.add_parser(name, help=what), do).add_argument("operation")
    hold = _acting(commands.add_parser("resolve-hold", help="lead a leg out of HELD"), resolve_hold)
    hold.add_argument("operation")
    hold.add_argument("--leg", required=True)
    hold.add_argument("--generation", type=int, help="the newest where it is not named")
    hold.add_argument("--resolution", required=True, choices=[str(word) for word in HoldResolution])
    hold.add_argument("--evidence", help="hash of the final transaction that used up the leg's nonce")
    pause = _acting(commands.add_parser("pause-signer", help="no new nonce until it is resumed"), pause_signer)
    resume = _acting(commands.add_parser("resume-signer", help="let it take nonces again"), resume_signer)
    resume.add_argument("--despite-held", action="store_true", help="although a leg of it is HELD")
    close = _acting(commands.add_parser("close-incident", help="it was seen to, or is none"), close_incident)
    close.add_argument("incident", help="its id, which 'review' shows")
    for command in (pause, resume):
        command.add_argument("--address", help="the platform wallet where it is not named")
    return parser


def _acting(command: argparse.ArgumentParser, do: Command) -> argparse.ArgumentParser:
    command.add_argument("--reason", required=True)
    command.add_argument("--operator", required=True, help="who gives the command")
    command.set_defaults(do=do)
    return command


async def _run(settings: Settings, asked: argparse.Namespace) -> str:
    async with AsyncExitStack() as stack:
        database = open_database(settings.database_url.get_secret_value(), pool_size=1, application_name="operate")
        stack.push_async_callback(database.dispose)
        await check_database(database)
        desk = Desk(settings, await connect_temporal(settings), transactions(database))
        said: str = await asked.do(desk, asked)
        return said


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        said = asyncio.run(_run(read_settings(Settings), asked))
    except SettingAtFault as fault:
        sys.stderr.write(f"{fault}\n")
        return 2
    except Unanswered as why:
        sys.stderr.write(f"{why}\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
