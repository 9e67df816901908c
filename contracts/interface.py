"""The part of the contracts that the engine may rely on.

Contracts deployed by others have this interface and nothing more is known of them, so `chain/` is given only these
entries. `setOperator` and `isOperator` exist on our own vault alone; the engine finds out whether they are there.
"""

from typing import Any

AbiEntry = dict[str, Any]

# File name under chain/abi: the contract it is taken from, and the names that the design lists.
INTERFACE: dict[str, tuple[str, frozenset[str]]] = {
    "usdc": (
        "USDC",
        frozenset(
            {"allowance", "approve", "balanceOf", "decimals", "totalSupply", "transfer", "transferFrom"}
            | {"Approval", "Transfer"}
        ),
    ),
    "oaid": (
        "OAID",
        frozenset(
            {"getCreditLine", "getAvailableCredit", "getUserCreditLines", "isUserRegistered", "getCreditScore"}
            | {"getCreditProfile", "registerUser", "setSolvencyVault"}
            | {"CreditLineIssued", "CreditUsed", "CreditRepaid", "CreditLineRevoked", "PaymentRecorded"}
        ),
    ),
    "solvency_vault": (
        "SolvencyVault",
        frozenset(
            {"depositCollateral", "borrowUSDC", "repayLoan", "getPosition", "positions", "getRepaymentPlan"}
            | {"getMaxBorrow", "getHealthFactor", "markMissedPayment", "markDefaulted", "liquidatePosition"}
            | {"settleLiquidation", "purchaseAndSettleLiquidation", "isOperator", "setOperator"}
            | {"PositionCreated", "OAIDCreditIssued", "USDCBorrowed", "RepaymentPlanCreated", "LoanRepaid"}
            | {"MissedPaymentMarked", "PositionDefaulted", "CollateralWithdrawn", "PositionLiquidated"}
            | {"LiquidationSettled", "PrivateAssetLiquidationSettled", "CreditLineRevoked"}
        ),
    ),
    "senior_pool": (
        "SeniorPool",
        frozenset({"getOutstandingDebt", "getAccruedInterest", "getAvailableLiquidity", "loans"}),
    ),
}


def design_abi(abi: list[AbiEntry], names: frozenset[str]) -> list[AbiEntry]:
    """The entries of an ABI that the design names, functions before events, each by name."""
    entries = [entry for entry in abi if entry["type"] in ("function", "event") and entry["name"] in names]
    missing = names - {entry["name"] for entry in entries}
    if missing:
        raise ValueError(f"the contract lacks {', '.join(sorted(missing))}")
    return sorted(entries, key=lambda entry: (entry["type"] != "function", entry["name"]))
