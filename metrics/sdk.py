"""The Temporal SDK's own metrics: it serves them itself, on an address of its own."""

import structlog
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig


def sdk_runtime(host: str, port: int | None) -> Runtime | None:
    """For Temporal clients, and through them for workers; None, which is the SDK's default, where nothing is to be told.

    As with the engine's own metrics, a port that cannot be had costs these and nothing else.
    """
    if not port:
        return None
    prometheus = PrometheusConfig(
        bind_address=f"{host}:{port}", counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
    )
    try:
        return Runtime(telemetry=TelemetryConfig(metrics=prometheus))
    except (RuntimeError, ValueError) as error:
        structlog.get_logger(__name__).error("no metrics of the SDK", port=port, error=repr(error))
        return None
