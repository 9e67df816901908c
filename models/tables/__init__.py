"""All tables, so that ``Base.metadata`` is whole wherever one of them is imported."""

from models.tables import ledger, loans, operations, operators, partners, transactions

__all__ = ["ledger", "loans", "operations", "operators", "partners", "transactions"]
