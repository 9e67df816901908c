"""A partner that asks the API, with its rows behind it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from api.administration import IssuedKey
from tests.webhooks.desk import Desk


@dataclass
class Partner:
    """A partner with its key, and the rows behind the API."""

    http: httpx.AsyncClient
    key: IssuedKey
    desk: Desk

    async def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key.key}"}
        return await self.http.request(method, f"/v1{path}", headers=headers, **given)

    async def made(self, method: str, path: str, **given: Any) -> Any:
        answer = await self.ask(method, path, **given)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def endpoint(self, url: str, **fields: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self.made("POST", "/webhook-endpoints", json={"url": url, **fields})
        return found


def since_yesterday() -> dict[str, str]:
    """The body of a redelivery of all that tests do."""
    now = datetime.now(UTC)
    return {"from": (now - timedelta(days=1)).isoformat(), "to": (now + timedelta(hours=1)).isoformat()}
