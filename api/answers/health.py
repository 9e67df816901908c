"""Whether the process and what it needs answer."""

from pydantic import Field

from api.answers.common import Answer


class HealthAnswer(Answer):
    status: str = Field(examples=["ok"])


class ReadinessAnswer(HealthAnswer):
    checks: dict[str, str] = Field(examples=[{"postgresql": "ok", "temporal": "ok", "rpc": "ok"}])
