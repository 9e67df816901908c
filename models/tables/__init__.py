"""All tables, so that ``Base.metadata`` is whole wherever one of them is imported."""

from models.tables import (
    administration,
    analytics,
    ledger,
    loans,
    operations,
    operators,
    partners,
    requests,
    transactions,
    webhooks,
)

__all__ = [
    "administration",
    "analytics",
    "ledger",
    "loans",
    "operations",
    "operators",
    "partners",
    "requests",
    "transactions",
    "webhooks",
]
