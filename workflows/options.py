"""Task queues, timeouts and retry policies, each named once."""

from datetime import timedelta

from temporalio.common import RetryPolicy

LOANS_QUEUE = "loans"
"""Workflow tasks, database activities and chain reads."""
WAITING_QUEUE = "loans-waiting"
"""Activities that wait for the chain: cheap coroutines in thousands of slots, so that they starve nothing else."""

HEAD_BUDGET = timedelta(seconds=3)
"""A step that takes longer goes on as a regular activity: a long local one would block the partner's update."""

QUICK_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=1), maximum_attempts=5
)
"""About two seconds. The attempts are counted, since a local activity's schedule_to_close does not end its retries."""
PATIENT_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))
"""Without end: what is retried here is a node or a database that is away, or a bug that a person must mend."""

STEP_TIMEOUT = timedelta(seconds=30)
HEARTBEAT_TIMEOUT = timedelta(seconds=12)
"""How long the waits of a worker that was killed stay unattended; they beat every few seconds (activities/heartbeats.py)."""
WAIT_MARGIN = timedelta(minutes=2)
"""What a waiting activity may take beyond its own patience before Temporal starts it anew."""

WEBHOOKS_QUEUE = "webhooks"
"""Deliveries: slow and hostile endpoints hurt nobody else."""
DELIVERY_TIMEOUT = timedelta(seconds=50)
"""For a wait in the endpoint's line, a request of 15 s and two transactions; a worker that was killed is replaced after that."""
DELIVERY_SCHEDULE = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Between two tries of a delivery: three days and a half in all (Standard Webhooks)."""
