"""The accounts of the ledger (money.md section 7).

The platform wallet is debited when USDC comes in and credited when it goes out. Every other account says whose the USDC in
the wallet is, so at any time ``balance(platform_wallet) = sum of what the other accounts hold``.
"""

PLATFORM_WALLET = "platform_wallet"
IN_FLIGHT = "in_flight"
"""Borrowed USDC on its way to a settlement address; read for one operation at a time."""
FLOAT = "float"
"""The operator's own USDC, which pays residues and the interest of an unwind."""
FEE_INCOME = "fee_income"
UNCLAIMED_INBOUND = "unclaimed_inbound"
SUSPENSE = "suspense"


def liability(partner_id: str) -> str:
    """USDC collected from a partner and not yet repaid or refunded."""
    return f"liability:{partner_id}"
