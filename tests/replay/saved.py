"""The files of histories: what is written into one, and what stays out."""

import json
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

FOLDER = Path(__file__).parent / "histories"
LEFT_OUT = frozenset({"identity", "stackTrace", "binaryChecksum", "requestId", "workerVersion"})
"""Where and by whom it was recorded; no replay reads them."""
STICKY = "TASK_QUEUE_KIND_STICKY"
"""Such a queue is named after the machine."""


def save(name: str, workflow_id: str, history: dict[str, Any]) -> None:
    content = {"workflow_id": workflow_id, "history": without_recorder(history)}
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def load(name: str) -> WorkflowHistory:
    content = json.loads((FOLDER / f"{name}.json").read_text())
    return WorkflowHistory.from_json(content["workflow_id"], content["history"])


def saved_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def without_recorder(value: Any) -> Any:
    if isinstance(value, list):
        return [without_recorder(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == STICKY:
        return {"kind": STICKY, "name": "sticky"}
    return {key: without_recorder(each) for key, each in value.items() if key not in LEFT_OUT}
