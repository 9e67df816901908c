"""The secrets of webhook endpoints, and signatures by them, as the Standard Webhooks specification says, through its library."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from standardwebhooks import Webhook

from models.sealing import Sealer
from models.tables.webhooks import WebhookEndpoint

SECRET_PREFIX = "whsec_"  # noqa: S105 - how the specification marks one
_SECRET_BYTES = 32


def new_secret() -> str:
    """``whsec_`` and 256 random bits in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def seal(sealer: Sealer, secret: str, endpoint_id: str) -> bytes:
    return sealer.seal(secret.encode(), endpoint_id)


def secrets_of(sealer: Sealer, endpoint: WebhookEndpoint, now: datetime) -> Sequence[str]:
    """The newest first; the one before it as long as it has not expired. Raises SealBroken."""
    expires = endpoint.previous_secret_expires_at
    before = endpoint.previous_secret if expires is not None and expires > now else None
    return [sealer.open(sealed, endpoint.id).decode() for sealed in (endpoint.secret, before) if sealed is not None]


def signed(message_id: str, body: str, signing: Sequence[str], now: datetime) -> Mapping[str, str]:
    """The three headers. There is a signature by each secret, so that a receiver who knows either can verify."""
    signatures = [Webhook(secret).sign(message_id, now, body) for secret in signing]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
