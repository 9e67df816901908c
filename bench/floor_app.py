"""The floor's API: a bare FastAPI application that does an update-with-start and answers 202.

``python -m bench.floor_app ADDRESS NAMESPACE PORT`` serves it with the engine's own server options.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.contrib.pydantic import pydantic_data_converter

from api.starter import UPDATE_ID
from bench.floor_activities import Nothing
from bench.floor_workflows import FloorBorrow
from models.messages.common import Done
from workflows.options import LOANS_QUEUE


def create_floor_app(address: str, namespace: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.temporal = await Client.connect(address, namespace=namespace, data_converter=pydantic_data_converter)
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/borrow", status_code=202)
    async def borrow(asked: Nothing) -> Done:
        start = WithStartWorkflowOperation(
            FloorBorrow.run,
            asked,
            id=f"floor-{uuid4().hex}",
            task_queue=LOANS_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        temporal: Client = app.state.temporal
        return await temporal.execute_update_with_start_workflow(
            FloorBorrow.decision, start_workflow_operation=start, id=UPDATE_ID
        )

    @app.get("/health")
    async def health() -> Done:
        return Done()

    return app


def main(address: str, namespace: str, port: str) -> None:
    app = create_floor_app(address, namespace)
    uvicorn.run(app, host="127.0.0.1", port=int(port), access_log=False, log_config=None, server_header=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
