// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {OAID} from "./OAID.sol";
import {SeniorPool} from "./SeniorPool.sol";

/// @title Positions: collateral in, USDC out, USDC back
/// @notice Everything that both kinds of vault share. They differ only in who may borrow and who may repay.
/// Borrowed USDC goes from the pool to the vault and from there to the caller; repaid USDC the other way.
/// All amounts are USDC base units, except those of the collateral token itself.
abstract contract SolvencyVaultBase is Ownable, ReentrancyGuard {
    using SafeERC20 for IERC20;

    struct Position {
        address user;
        address collateralToken;
        uint256 collateralAmount;
        uint256 usdcBorrowed;
        uint256 tokenValueUSD;
        uint256 createdAt;
        uint256 liquidatedAt;
        uint256 creditLineId;
        bool active;
        uint8 tokenType;
    }

    struct RepaymentPlan {
        uint256 loanDuration;
        uint256 numberOfInstallments;
        uint256 installmentInterval;
        uint256 nextPaymentDue;
        uint256 installmentsPaid;
        uint256 missedPayments;
        bool isActive;
        bool defaulted;
    }

    uint8 internal constant RWA = 0;
    uint8 internal constant PRIVATE_ASSET = 1;
    uint256 public constant RWA_LTV_BPS = 7_000;
    uint256 public constant PRIVATE_ASSET_LTV_BPS = 6_000;
    uint256 internal constant BPS = 10_000;

    IERC20 public immutable usdc;
    OAID public immutable oaid;
    SeniorPool public immutable seniorPool;

    uint256 public positionCount;
    mapping(uint256 positionId => Position) public positions;
    mapping(uint256 positionId => RepaymentPlan) internal _plans;

    event PositionCreated(
        uint256 indexed positionId,
        address indexed user,
        address collateralToken,
        uint256 collateralAmount,
        uint256 tokenValueUSD,
        uint8 tokenType
    );
    event OAIDCreditIssued(uint256 indexed positionId, uint256 creditLineId, uint256 creditLimit);
    event USDCBorrowed(uint256 indexed positionId, uint256 amount, uint256 totalDebt);
    event RepaymentPlanCreated(
        uint256 indexed positionId,
        uint256 loanDuration,
        uint256 numberOfInstallments,
        uint256 installmentInterval,
        uint256 nextPaymentDue
    );
    event LoanRepaid(
        uint256 indexed positionId, uint256 amount, uint256 principal, uint256 interest, uint256 remainingDebt
    );
    event CollateralWithdrawn(uint256 indexed positionId, address indexed user, uint256 amount);
    event CreditLineRevoked(uint256 indexed positionId, uint256 indexed creditLineId, string reason);

    constructor(address owner, IERC20 usdc_, OAID oaid_, SeniorPool pool_) Ownable(owner) {
        usdc = usdc_;
        oaid = oaid_;
        seniorPool = pool_;
    }

    /// @dev Whether `caller` may borrow against a position of `user`.
    function _mayBorrow(address user, address caller) internal view virtual returns (bool);

    /// @dev Whether `caller` may repay the debt of a position of `user`.
    function _mayRepay(address user, address caller) internal view virtual returns (bool);

    /// @param tokenValueUSD the value of the whole collateral. The depositor declares it and nobody checks it: an
    /// appraisal belongs to the deployed contracts, not to a sandbox.
    function depositCollateral(address token, uint256 amount, uint256 tokenValueUSD, uint8 tokenType, bool issueOAID)
        external
        nonReentrant
        returns (uint256 positionId)
    {
        require(amount > 0 && tokenValueUSD > 0, "Amount must be > 0");
        require(tokenType == RWA || tokenType == PRIVATE_ASSET, "Invalid token type");
        positionId = ++positionCount;
        Position storage position = positions[positionId];
        position.user = msg.sender;
        position.collateralToken = token;
        position.collateralAmount = amount;
        position.tokenValueUSD = tokenValueUSD;
        position.createdAt = block.timestamp;
        position.active = true;
        position.tokenType = tokenType;
        emit PositionCreated(positionId, msg.sender, token, amount, tokenValueUSD, tokenType);
        if (issueOAID) _issueCreditLine(positionId, position);
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @notice Lends against a position and starts its repayment plan. The USDC goes to the caller.
    function borrowUSDC(uint256 positionId, uint256 amount, uint256 loanDuration, uint256 numberOfInstallments)
        external
        nonReentrant
    {
        Position storage position = positions[positionId];
        require(position.active, "Position not active");
        require(_mayBorrow(position.user, msg.sender), "Not position owner");
        require(amount > 0, "Amount must be > 0");
        require(loanDuration > 0, "Duration must be > 0");
        require(numberOfInstallments > 0, "Installments must be > 0");
        require(loanDuration >= numberOfInstallments, "Invalid duration/installments");
        require(!_plans[positionId].isActive, "Plan already active");
        require(amount <= getMaxBorrow(positionId), "Exceeds LTV limit");

        position.usdcBorrowed += amount;
        if (position.creditLineId != 0) oaid.useCredit(position.creditLineId, amount);
        seniorPool.borrow(positionId, amount);
        emit USDCBorrowed(positionId, amount, seniorPool.getOutstandingDebt(positionId));
        _startPlan(positionId, loanDuration, numberOfInstallments);
        require(usdc.transfer(msg.sender, amount), "USDC transfer failed");
    }

    /// @notice Repays from the caller's USDC, interest first. Reverts above the exact debt of this second.
    function repayLoan(uint256 positionId, uint256 amount) external nonReentrant {
        Position storage position = positions[positionId];
        require(position.active, "Position not active");
        require(_mayRepay(position.user, msg.sender), "Not position owner");
        require(amount > 0, "Amount must be > 0");
        require(usdc.transferFrom(msg.sender, address(this), amount), "USDC transfer failed");
        (uint256 principal, uint256 interest, uint256 remaining) = _repayPool(positionId, amount);
        position.usdcBorrowed -= principal;
        _recordPayment(position.creditLineId, _plans[positionId], amount, principal);
        if (remaining == 0) _plans[positionId].isActive = false;
        emit LoanRepaid(positionId, amount, principal, interest, remaining);
    }

    /// @notice Gives all collateral of a position without debt back to its user and closes the position.
    function withdrawCollateral(uint256 positionId) external nonReentrant {
        Position storage position = positions[positionId];
        require(position.active, "Position not active");
        require(position.user == msg.sender, "Not position owner");
        require(seniorPool.getOutstandingDebt(positionId) == 0, "Outstanding debt");
        position.active = false;
        _revokeCreditLine(positionId, false, "Collateral withdrawn");
        emit CollateralWithdrawn(positionId, msg.sender, position.collateralAmount);
        IERC20(position.collateralToken).safeTransfer(msg.sender, position.collateralAmount);
    }

    function getPosition(uint256 positionId) external view returns (Position memory) {
        return positions[positionId];
    }

    function getRepaymentPlan(uint256 positionId) external view returns (RepaymentPlan memory) {
        return _plans[positionId];
    }

    /// @return what may still be borrowed under the position's loan-to-value
    function getMaxBorrow(uint256 positionId) public view returns (uint256) {
        Position storage position = positions[positionId];
        uint256 ltv = position.tokenType == RWA ? RWA_LTV_BPS : PRIVATE_ASSET_LTV_BPS;
        uint256 most = position.active ? (position.tokenValueUSD * ltv) / BPS : 0;
        return most > position.usdcBorrowed ? most - position.usdcBorrowed : 0;
    }

    /// @return collateral value over debt in basis points; without debt the largest number there is
    function getHealthFactor(uint256 positionId) external view returns (uint256) {
        uint256 debt = seniorPool.getOutstandingDebt(positionId);
        return debt == 0 ? type(uint256).max : (positions[positionId].tokenValueUSD * BPS) / debt;
    }

    /// @dev The vault holds `amount` of USDC when this is called; the pool pulls it.
    function _repayPool(uint256 positionId, uint256 amount)
        internal
        returns (uint256 principal, uint256 interest, uint256 remaining)
    {
        usdc.forceApprove(address(seniorPool), amount);
        (principal, interest) = seniorPool.repay(positionId, amount);
        remaining = seniorPool.getOutstandingDebt(positionId);
    }

    function _revokeCreditLine(uint256 positionId, bool liquidated, string memory reason) internal {
        uint256 creditLineId = positions[positionId].creditLineId;
        if (creditLineId == 0) return;
        oaid.revokeCreditLine(creditLineId, liquidated, reason);
        emit CreditLineRevoked(positionId, creditLineId, reason);
    }

    function _issueCreditLine(uint256 positionId, Position storage position) private {
        (uint256 creditLineId, uint256 creditLimit) = oaid.issueCreditLine(
            position.user, position.collateralToken, position.collateralAmount, position.tokenValueUSD, positionId
        );
        position.creditLineId = creditLineId;
        emit OAIDCreditIssued(positionId, creditLineId, creditLimit);
    }

    function _startPlan(uint256 positionId, uint256 loanDuration, uint256 numberOfInstallments) private {
        uint256 interval = loanDuration / numberOfInstallments;
        uint256 due = block.timestamp + interval;
        _plans[positionId] = RepaymentPlan(loanDuration, numberOfInstallments, interval, due, 0, 0, true, false);
        emit RepaymentPlanCreated(positionId, loanDuration, numberOfInstallments, interval, due);
    }

    /// @dev Every repayment counts as one instalment, whatever its size, as on the deployed vaults.
    function _recordPayment(uint256 creditLineId, RepaymentPlan storage plan, uint256 amount, uint256 principal)
        private
    {
        uint256 due = plan.nextPaymentDue;
        uint256 daysLate = block.timestamp > due ? (block.timestamp - due) / 1 days : 0;
        if (creditLineId != 0) {
            oaid.repayCredit(creditLineId, principal);
            oaid.recordPayment(creditLineId, amount, daysLate, block.timestamp <= due);
        }
        if (plan.installmentsPaid < plan.numberOfInstallments) {
            plan.installmentsPaid += 1;
            plan.nextPaymentDue = due + plan.installmentInterval;
        }
    }
}
