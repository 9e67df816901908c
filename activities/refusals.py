"""Turns a business refusal into an error that Temporal does not retry, by type and never by text."""

from typing import Any

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from models.errors import Refused


class RefusalInterceptor(Interceptor):
    """Registered on every worker. Anything that is not a refusal passes through, and is retried."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - Temporal's signature
        return _RefusalsAreFinal(next)


class _RefusalsAreFinal(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - Temporal's signature
        try:
            return await super().execute_activity(input)
        except Refused as refused:
            raise ApplicationError(
                refused.detail,
                refused.payload(),
                type=refused.code,
                non_retryable=True,
                category=ApplicationErrorCategory.BENIGN,
            ) from refused
