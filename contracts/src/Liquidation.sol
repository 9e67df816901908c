// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {SolvencyVaultBase} from "./SolvencyVaultBase.sol";

/// @title What the vault's owner does when a loan goes bad
/// @notice Missed payments, default, liquidation, settlement. In the sandbox the owner buys the collateral: a real-world
/// asset at its declared value, a private asset at a price the owner names. The proceeds go to the debt, then a fee,
/// then the user; debt that they do not cover is written off.
abstract contract Liquidation is SolvencyVaultBase {
    using SafeERC20 for IERC20;

    uint256 public constant LIQUIDATION_FEE_BPS = 500;

    mapping(uint256 positionId => bool) public isSettled;

    event MissedPaymentMarked(uint256 indexed positionId, uint256 missedPayments);
    event PositionDefaulted(uint256 indexed positionId);
    event PositionLiquidated(uint256 indexed positionId, uint256 liquidationTime);
    event LiquidationSettled(
        uint256 indexed positionId,
        uint256 yieldReceived,
        uint256 debtRepaid,
        uint256 liquidationFee,
        uint256 userRefund
    );
    event PrivateAssetLiquidationSettled(
        uint256 indexed positionId,
        address indexed purchaser,
        uint256 purchaseAmount,
        uint256 tokensTransferred,
        uint256 debtRepaid,
        uint256 liquidationFee,
        uint256 userRefund
    );

    function markMissedPayment(uint256 positionId) external onlyOwner {
        RepaymentPlan storage plan = _plans[positionId];
        require(plan.isActive, "Plan not active");
        require(block.timestamp > plan.nextPaymentDue, "Payment not overdue");
        plan.missedPayments += 1;
        plan.nextPaymentDue += plan.installmentInterval;
        emit MissedPaymentMarked(positionId, plan.missedPayments);
    }

    function markDefaulted(uint256 positionId) external onlyOwner {
        RepaymentPlan storage plan = _plans[positionId];
        require(plan.isActive, "Plan not active");
        require(!plan.defaulted, "Already defaulted");
        plan.defaulted = true;
        emit PositionDefaulted(positionId);
    }

    function liquidatePosition(uint256 positionId) external onlyOwner {
        Position storage position = positions[positionId];
        require(position.active, "Position not active");
        require(_plans[positionId].defaulted && _plans[positionId].isActive, "Position not defaulted");
        position.active = false;
        position.liquidatedAt = block.timestamp;
        _revokeCreditLine(positionId, true, "Position liquidated");
        emit PositionLiquidated(positionId, block.timestamp);
    }

    /// @notice Settles a real-world asset: the owner pays its declared value, needing an allowance to the vault.
    function settleLiquidation(uint256 positionId) external onlyOwner nonReentrant {
        Position storage position = positions[positionId];
        require(position.tokenType == RWA, "Not an RWA position");
        uint256 proceeds = position.tokenValueUSD;
        (uint256 repaid, uint256 fee, uint256 refund) = _settle(positionId, proceeds);
        emit LiquidationSettled(positionId, proceeds, repaid, fee, refund);
    }

    /// @notice Settles a private asset: the owner buys it for `purchaseAmount`, needing an allowance to the vault.
    function purchaseAndSettleLiquidation(uint256 positionId, uint256 purchaseAmount) external onlyOwner nonReentrant {
        Position storage position = positions[positionId];
        require(position.tokenType == PRIVATE_ASSET, "Not a private asset position");
        require(purchaseAmount > 0, "Amount must be > 0");
        (uint256 repaid, uint256 fee, uint256 refund) = _settle(positionId, purchaseAmount);
        emit PrivateAssetLiquidationSettled(
            positionId, msg.sender, purchaseAmount, position.collateralAmount, repaid, fee, refund
        );
    }

    function _settle(uint256 positionId, uint256 proceeds)
        private
        returns (uint256 repaid, uint256 fee, uint256 refund)
    {
        Position storage position = positions[positionId];
        require(position.liquidatedAt != 0, "Position not liquidated");
        require(!isSettled[positionId], "Already settled");
        isSettled[positionId] = true;
        position.usdcBorrowed = 0;
        _plans[positionId].isActive = false;
        usdc.safeTransferFrom(msg.sender, address(this), proceeds);
        repaid = _repayFromProceeds(positionId, proceeds);
        (fee, refund) = _share(proceeds, proceeds - repaid);
        usdc.safeTransfer(owner(), fee);
        usdc.safeTransfer(position.user, refund);
        IERC20(position.collateralToken).safeTransfer(msg.sender, position.collateralAmount);
    }

    function _repayFromProceeds(uint256 positionId, uint256 proceeds) private returns (uint256 repaid) {
        uint256 debt = seniorPool.getOutstandingDebt(positionId);
        repaid = proceeds < debt ? proceeds : debt;
        (,, uint256 remaining) = _repayPool(positionId, repaid);
        if (remaining > 0) seniorPool.writeOff(positionId);
    }

    function _share(uint256 proceeds, uint256 surplus) private pure returns (uint256 fee, uint256 refund) {
        uint256 fullFee = (proceeds * LIQUIDATION_FEE_BPS) / BPS;
        fee = fullFee < surplus ? fullFee : surplus;
        refund = surplus - fee;
    }
}
