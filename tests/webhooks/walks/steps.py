"""Steps that several walks take."""

from models.messages.operators import HoldResolution, ResolveHold
from tests.engine import Borrower, Engine
from tests.replay.paths import active


async def lent(engine: Engine) -> Borrower:
    """A borrower whose loan is ACTIVE; its lane is away again."""
    async with engine.lane():
        return await active(engine)


async def resume(engine: Engine, operation_id: str, leg: str) -> None:
    """A person has looked at the leg that is HELD, and it goes on."""
    command = ResolveHold(operator="ada", reason="seen", leg=leg, resolution=HoldResolution.RESUME)
    await engine.operator(operation_id, "resolve_hold", command)
