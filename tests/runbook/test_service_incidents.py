"""The incidents of what serves partners, which move no money: Valkey is away, and a webhook endpoint fails for days."""

from datetime import timedelta
from functools import partial

from pydantic import SecretStr
from sqlalchemy import func, update

from models.statuses import DeliveryState
from models.tables.operations import Event
from models.tables.webhooks import WebhookDelivery
from sandbox.services import Valkey
from tests.engine import BuildEngine, until
from tests.operating import Say
from tests.runbook.entries import trying
from tests.runbook.states import HOUR_AND_MORE, environment, figure, is_over, stands
from tests.webhooks.desk import SEALING_KEY, Desk
from tests.webhooks.partner import since_yesterday
from tests.webhooks.receiver import receiving

OPEN = "loan_engine_incidents_open"


async def test_valkey_away(build_engine: BuildEngine, valkey: Valkey, say: Say) -> None:
    """The API counts by itself and says so; when Valkey is started it is found, and the incident closes."""
    tried = trying("`RATE_LIMITS_LOCAL`", "RateLimitsLocal")
    async with build_engine(rate_limit_url=SecretStr(valkey.url)) as engine:
        await valkey.process.kill()
        try:
            await engine.api.get("/v1/me", headers=engine.partner.headers)
            await stands(engine, "RATE_LIMITS_LOCAL")
            assert await figure(engine, OPEN, kind="RATE_LIMITS_LOCAL") == 1
            assert "RATE_LIMITS_LOCAL" in (await tried.types(say, engine, "review"))[1]
        finally:
            await valkey.process.start()
        await is_over(engine, "RATE_LIMITS_LOCAL")


async def test_an_endpoint_that_fails_for_days(build_engine: BuildEngine, say: Say) -> None:
    """Deliveries wait for a worker, fail, and end; its partner enables the endpoint and recovers what it missed."""
    tried = trying("`WEBHOOK_ENDPOINT_FAILING`", "WebhooksWaiting")
    async with (
        receiving(behave=lambda number: 500 if number == 1 else 200) as receiver,
        build_engine(sealing_key=SecretStr(SEALING_KEY)) as engine,
    ):
        desk = Desk(engine.parts.database, engine.temporal, engine.settings, engine.partner.id)
        made = await engine.api.post(
            "/v1/webhook-endpoints", json={"url": receiver.url}, headers=engine.partner.headers
        )
        endpoint = made.json()["endpoint_id"]
        missed = await desk.event()
        assert await figure(engine, "loan_engine_events_waiting") == 1
        await desk.failing_for(endpoint, timedelta(days=5))
        await has_waited_for_an_hour(desk, missed, endpoint)
        assert await figure(engine, "loan_engine_webhook_deliveries", state="PENDING") == 1
        assert await figure(engine, "loan_engine_webhook_oldest_seconds", state="PENDING") > 3600
        async with tried.starts("python worker.py --role webhooks", environment(engine)):
            await stands(engine, "WEBHOOK_ENDPOINT_FAILING")
            assert endpoint in (await tried.types(say, engine, "review"))[1]
            enable = "POST /v1/webhook-endpoints/ENDPOINT/enable"
            answer = await tried.asks(engine.api, enable, engine.partner.headers, ENDPOINT=endpoint)
            assert answer.is_success, answer.text
            await is_over(engine, "WEBHOOK_ENDPOINT_FAILING")
            again = "POST /v1/webhook-endpoints/ENDPOINT/redeliver"
            answer = await tried.asks(engine.api, again, engine.partner.headers, since_yesterday(), ENDPOINT=endpoint)
            assert answer.is_success, answer.text
            await until(partial(desk.is_in, missed, endpoint, DeliveryState.DELIVERED))


async def has_waited_for_an_hour(desk: Desk, event: str, endpoint: str) -> None:
    """As a dispatcher leaves it that is killed when it has said who is to have the event."""
    then = func.now() - HOUR_AND_MORE
    async with desk.transaction() as session:
        session.add(WebhookDelivery(event_id=event, endpoint_id=endpoint, created_at=then))
        await session.execute(update(Event).where(Event.id == event).values(fanned_out_at=then))
