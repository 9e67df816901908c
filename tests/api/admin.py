"""An administrator at work: the admin API over HTTP, and the trail that it leaves."""

from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import select

from api.administration import IssuedAdminKey, create_administrator, issue_admin_key
from models.statuses import AdminActionKind
from models.tables.administration import AdminAction
from tests.api.desk import Desk


@dataclass(frozen=True)
class Admin:
    desk: Desk
    key: IssuedAdminKey

    @property
    def id(self) -> str:
        return self.key.administrator_id

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.key.key}", **headers}
        return await self.desk.http.request(method, f"/v1/admin{path}", json=body, headers=sent)

    async def get(self, path: str) -> Any:
        return _good(await self.ask("GET", path))

    async def post(self, path: str, body: Any = None) -> Any:
        return _good(await self.ask("POST", path, body))

    async def patch(self, path: str, body: Any) -> Any:
        return _good(await self.ask("PATCH", path, body))

    async def delete(self, path: str) -> Any:
        return _good(await self.ask("DELETE", path))

    async def issue_key(self, partner_id: str = "acme", **fields: Any) -> Any:
        return await self.post(f"/partners/{partner_id}/keys", fields)

    async def actions(self) -> list[tuple[AdminActionKind, str]]:
        """Action and actor of every row of the trail, the oldest first."""
        return [(row.action, row.actor) for row in await trail(self.desk)]


def _good(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def new_admin(desk: Desk, name: str) -> Admin:
    """An administrator whose key came by command, so from nobody's hand."""
    async with desk.transaction() as session:
        administrator = await create_administrator(session, name)
        key = await issue_admin_key(session, administrator.id, mode="sandbox")
    return Admin(desk, key)


async def trail(desk: Desk) -> list[AdminAction]:
    async with desk.transaction() as session:
        return list(await session.scalars(select(AdminAction).order_by(AdminAction.at, AdminAction.id)))


def partner_body(address: str, **changes: Any) -> dict[str, Any]:
    body = {
        "partner_id": "beta",
        "name": "Beta",
        "tier": "BASIC",
        "settlement_address": address,
        "kyc_verified": True,
        "contract_signed": True,
    }
    return {**body, **changes}
