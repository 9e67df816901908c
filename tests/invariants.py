"""The invariants of money.md section 8, as tests want them: an empty list."""

from activities.audit.checker import audit
from chain.engine_chain import EngineChain
from models.tables.session import Transaction


async def breaches(transaction: Transaction, chain: EngineChain) -> list[str]:
    """What is wrong, each in a sentence."""
    return [str(breach) for breach in (await audit(transaction, chain)).breaches]
