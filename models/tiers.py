"""What a partner may do by its tier, unless its own row says otherwise (api.md, "For administrators")."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.money import USDC_DECIMALS
from models.statuses import PartnerTier

_USDC = 10**USDC_DECIMALS


@dataclass(frozen=True, slots=True)
class TierTerms:
    """Limits in base units of USDC, the fee in basis points of the principal."""

    daily_borrow_limit: int
    total_borrow_limit: int
    fee_bps: int
    requests_per_minute: int


TIERS: Mapping[PartnerTier, TierTerms] = MappingProxyType(
    {
        PartnerTier.BASIC: TierTerms(50_000 * _USDC, 200_000 * _USDC, 75, 100),
        PartnerTier.PREMIUM: TierTerms(100_000 * _USDC, 500_000 * _USDC, 50, 500),
        PartnerTier.ENTERPRISE: TierTerms(500_000 * _USDC, 2_000_000 * _USDC, 25, 2_000),
    }
)
