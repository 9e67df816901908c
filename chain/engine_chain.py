"""The chain as the engine is configured for it: one client, the four contracts, and the wallet that acts."""

from dataclasses import dataclass, field

from eth_typing import ChecksumAddress

from chain.client import ChainClient
from chain.contracts.oaid import Oaid
from chain.contracts.senior_pool import SeniorPool
from chain.contracts.solvency_vault import SolvencyVault
from chain.contracts.usdc import Usdc
from chain.finality import Finality


@dataclass(frozen=True)
class EngineChain:
    """``probe_address`` receives simulated transfers only; ``debt_ceiling`` is base units for one position."""

    client: ChainClient
    chain_id: int
    usdc_address: ChecksumAddress
    oaid_address: ChecksumAddress
    vault_address: ChecksumAddress
    pool_address: ChecksumAddress
    wallet: ChecksumAddress
    probe_address: ChecksumAddress
    debt_ceiling: int
    finality: Finality
    has_operator_path: bool
    """Whether the vault lets an approved operator borrow; otherwise the platform wallet itself holds the positions."""
    usdc: Usdc = field(init=False)
    oaid: Oaid = field(init=False)
    vault: SolvencyVault = field(init=False)
    pool: SeniorPool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "usdc", Usdc(self.usdc_address))
        object.__setattr__(self, "oaid", Oaid(self.oaid_address))
        object.__setattr__(self, "vault", SolvencyVault(self.vault_address))
        object.__setattr__(self, "pool", SeniorPool(self.pool_address))
