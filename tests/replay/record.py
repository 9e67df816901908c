"""Records the histories anew, one file for each path.

::

    .venv/bin/python -m pytest tests/replay/record.py

Do this only for a workflow change that was versioned, or that never ran outside a test. pytest does not collect this file by
itself, so the suite never records what it is about to replay.
"""

import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.history.v1 import History

from tests.engine import BuildEngine, Engine, until
from tests.replay.paths import PATHS
from tests.replay.saved import save


@pytest.mark.parametrize("name", PATHS)
async def test_record(build_engine: BuildEngine, name: str) -> None:
    """The engine takes the path, and the history of its workflow is saved."""
    path = PATHS[name]
    async with build_engine(**path.settings) as engine, engine.loans():
        if path.lane_runs:
            async with engine.lane():
                await engine.fund_float()
                await until(engine.float_is_booked)
                operation_id = await path.walk(engine)
        else:
            operation_id = await path.walk(engine)
        await save_history(engine, name, operation_id)


async def save_history(engine: Engine, name: str, operation_id: str) -> None:
    """Only a workflow that has ended is saved: what it does after its last write belongs to the path."""
    handle = engine.temporal.get_workflow_handle(operation_id)
    await handle.result()
    history = await handle.fetch_history()
    save(name, operation_id, MessageToDict(History(events=history.events)))
