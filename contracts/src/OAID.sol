// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

/// @title Credit lines and the payment history of their users
/// @notice The owner registers users; only the vault issues, uses, repays, records and revokes. Amounts are USDC base units.
contract OAID is Ownable {
    struct CreditLine {
        address user;
        address collateralToken;
        uint256 collateralAmount;
        uint256 creditLimit;
        uint256 creditUsed;
        uint256 solvencyPositionId;
        uint256 issuedAt;
        uint256 totalPayments;
        uint256 onTimePayments;
        uint256 latePayments;
        uint256 totalAmountRepaid;
        bool liquidated;
        uint256 liquidatedAt;
        bool active;
    }

    struct CreditProfile {
        uint256 activeCreditLines;
        uint256 totalCreditLimit;
        uint256 totalPayments;
        uint256 onTimePayments;
        uint256 latePayments;
        uint256 liquidations;
        uint256 creditScore;
    }

    uint256 public constant CREDIT_LIMIT_BPS = 7_000;
    uint256 private constant BPS = 10_000;
    uint256 private constant SCORE_MAX = 1_000;
    uint256 private constant SCORE_WITHOUT_HISTORY = 500;
    uint256 private constant SCORE_LOST_PER_LIQUIDATION = 200;

    address public solvencyVault;
    uint256 public creditLineCount;

    mapping(uint256 creditLineId => CreditLine) private _creditLines;
    mapping(address user => uint256[]) private _userCreditLines;
    mapping(address user => bool) public isUserRegistered;

    event UserRegistered(address indexed user);
    event CreditLineIssued(
        uint256 indexed creditLineId,
        address indexed user,
        address collateralToken,
        uint256 collateralAmount,
        uint256 creditLimit,
        uint256 solvencyPositionId
    );
    event CreditUsed(uint256 indexed creditLineId, uint256 amount, uint256 totalUsed);
    event CreditRepaid(uint256 indexed creditLineId, uint256 amount, uint256 remainingUsed);
    event CreditLineRevoked(uint256 indexed creditLineId, string reason);
    event PaymentRecorded(
        uint256 indexed creditLineId, address indexed user, uint256 amount, bool onTime, uint256 daysLate
    );

    modifier onlyVault() {
        require(msg.sender == solvencyVault, "Only solvency vault");
        _;
    }

    constructor(address owner) Ownable(owner) {}

    function setSolvencyVault(address vault) external onlyOwner {
        solvencyVault = vault;
    }

    function registerUser(address user) external onlyOwner {
        isUserRegistered[user] = true;
        emit UserRegistered(user);
    }

    /// @param valueUSD the value of the whole collateral, in USDC base units
    function issueCreditLine(
        address user,
        address collateralToken,
        uint256 collateralAmount,
        uint256 valueUSD,
        uint256 positionId
    ) external onlyVault returns (uint256 creditLineId, uint256 creditLimit) {
        require(isUserRegistered[user], "User not registered");
        creditLineId = ++creditLineCount;
        creditLimit = (valueUSD * CREDIT_LIMIT_BPS) / BPS;
        CreditLine storage line = _creditLines[creditLineId];
        line.user = user;
        line.collateralToken = collateralToken;
        line.collateralAmount = collateralAmount;
        line.creditLimit = creditLimit;
        line.solvencyPositionId = positionId;
        line.issuedAt = block.timestamp;
        line.active = true;
        _userCreditLines[user].push(creditLineId);
        emit CreditLineIssued(creditLineId, user, collateralToken, collateralAmount, creditLimit, positionId);
    }

    function useCredit(uint256 creditLineId, uint256 amount) external onlyVault {
        CreditLine storage line = _activeLine(creditLineId);
        require(line.creditUsed + amount <= line.creditLimit, "Exceeds credit limit");
        line.creditUsed += amount;
        emit CreditUsed(creditLineId, amount, line.creditUsed);
    }

    function repayCredit(uint256 creditLineId, uint256 principal) external onlyVault {
        CreditLine storage line = _activeLine(creditLineId);
        line.creditUsed -= principal;
        emit CreditRepaid(creditLineId, principal, line.creditUsed);
    }

    /// @param amount everything paid, interest included
    function recordPayment(uint256 creditLineId, uint256 amount, uint256 daysLate, bool onTime) external onlyVault {
        CreditLine storage line = _activeLine(creditLineId);
        line.totalPayments += 1;
        line.totalAmountRepaid += amount;
        if (onTime) line.onTimePayments += 1;
        else line.latePayments += 1;
        emit PaymentRecorded(creditLineId, line.user, amount, onTime, daysLate);
    }

    function revokeCreditLine(uint256 creditLineId, bool liquidated, string calldata reason) external onlyVault {
        CreditLine storage line = _activeLine(creditLineId);
        line.active = false;
        if (liquidated) {
            line.liquidated = true;
            line.liquidatedAt = block.timestamp;
        }
        emit CreditLineRevoked(creditLineId, reason);
    }

    /// @return an unknown id gives zeros
    function getCreditLine(uint256 creditLineId) external view returns (CreditLine memory) {
        return _creditLines[creditLineId];
    }

    function getAvailableCredit(uint256 creditLineId) external view returns (uint256) {
        CreditLine storage line = _creditLines[creditLineId];
        return line.active ? line.creditLimit - line.creditUsed : 0;
    }

    function getUserCreditLines(address user) external view returns (uint256[] memory) {
        return _userCreditLines[user];
    }

    function getCreditScore(address user) external view returns (uint256) {
        return getCreditProfile(user).creditScore;
    }

    function getCreditProfile(address user) public view returns (CreditProfile memory profile) {
        uint256[] storage ids = _userCreditLines[user];
        for (uint256 i = 0; i < ids.length; ++i) {
            CreditLine storage line = _creditLines[ids[i]];
            if (line.active) {
                profile.activeCreditLines += 1;
                profile.totalCreditLimit += line.creditLimit;
            }
            profile.totalPayments += line.totalPayments;
            profile.onTimePayments += line.onTimePayments;
            profile.latePayments += line.latePayments;
            if (line.liquidated) profile.liquidations += 1;
        }
        profile.creditScore = isUserRegistered[user] ? _score(profile) : 0;
    }

    function _score(CreditProfile memory profile) private pure returns (uint256) {
        uint256 score = profile.totalPayments == 0
            ? SCORE_WITHOUT_HISTORY
            : (SCORE_MAX * profile.onTimePayments) / profile.totalPayments;
        uint256 lost = SCORE_LOST_PER_LIQUIDATION * profile.liquidations;
        return score > lost ? score - lost : 0;
    }

    function _activeLine(uint256 creditLineId) private view returns (CreditLine storage line) {
        line = _creditLines[creditLineId];
        require(line.active, "Credit line not active");
    }
}
