// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

/// @title Liquidity and debt
/// @notice Holds the USDC that is lent and the debt of every position. Interest is simple, 5% a year, counted by the
/// second and truncated; what is truncated is forgone, so a residue of a few base units never grows.
contract SeniorPool is Ownable, ReentrancyGuard {
    using SafeERC20 for IERC20;

    struct Loan {
        uint256 principal;
        uint256 interestAccrued;
        uint256 lastUpdateTime;
        bool active;
    }

    uint256 public constant INTEREST_RATE_BPS = 500;
    uint256 public constant RESERVE_BPS = 2_000;
    uint256 public constant DEBT_CEILING = 100_000e6;
    uint256 private constant BPS = 10_000;
    uint256 private constant SECONDS_PER_YEAR = 31_536_000;

    IERC20 public immutable usdc;
    address public solvencyVault;
    uint256 public totalBorrowed;
    bool public repaymentsPaused;

    mapping(uint256 positionId => Loan) public loans;

    modifier onlyVault() {
        require(msg.sender == solvencyVault, "Only solvency vault");
        _;
    }

    constructor(address owner, IERC20 usdc_) Ownable(owner) {
        usdc = usdc_;
    }

    function setSolvencyVault(address vault) external onlyOwner {
        solvencyVault = vault;
    }

    /// @notice Lets the sandbox and the tests make the vault refuse a repayment whose USDC has been collected already.
    function setRepaymentsPaused(bool paused) external onlyOwner {
        repaymentsPaused = paused;
    }

    /// @notice Lends to a position and pays the vault, which passes the USDC on.
    function borrow(uint256 positionId, uint256 amount) external onlyVault nonReentrant {
        Loan storage loan = _accrue(positionId);
        require(loan.principal + amount <= DEBT_CEILING, "Exceeds debt ceiling");
        require(amount <= getAvailableLiquidity(), "Insufficient liquidity");
        loan.principal += amount;
        loan.active = true;
        totalBorrowed += amount;
        usdc.safeTransfer(msg.sender, amount);
    }

    /// @notice Takes USDC from the vault: interest first, then principal, never more than the debt of this second.
    function repay(uint256 positionId, uint256 amount)
        external
        onlyVault
        nonReentrant
        returns (uint256 principal, uint256 interest)
    {
        require(!repaymentsPaused, "Repayments paused");
        require(loans[positionId].active, "Loan not active");
        Loan storage loan = _accrue(positionId);
        require(amount <= loan.principal + loan.interestAccrued, "Amount exceeds debt");
        interest = amount < loan.interestAccrued ? amount : loan.interestAccrued;
        principal = amount - interest;
        loan.interestAccrued -= interest;
        loan.principal -= principal;
        loan.active = loan.principal + loan.interestAccrued > 0;
        totalBorrowed -= principal;
        usdc.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @notice Forgives what a liquidation could not recover.
    function writeOff(uint256 positionId) external onlyVault {
        totalBorrowed -= loans[positionId].principal;
        delete loans[positionId];
    }

    /// @return principal and interest to this second
    function getOutstandingDebt(uint256 positionId) external view returns (uint256) {
        return loans[positionId].principal + getAccruedInterest(positionId);
    }

    function getAccruedInterest(uint256 positionId) public view returns (uint256) {
        Loan storage loan = loans[positionId];
        uint256 elapsed = block.timestamp - loan.lastUpdateTime;
        return loan.interestAccrued + (loan.principal * INTEREST_RATE_BPS * elapsed) / (BPS * SECONDS_PER_YEAR);
    }

    /// @return what may be lent now: a fifth of what is out already stays in the pool
    function getAvailableLiquidity() public view returns (uint256) {
        uint256 balance = usdc.balanceOf(address(this));
        uint256 reserve = (totalBorrowed * RESERVE_BPS) / BPS;
        return balance > reserve ? balance - reserve : 0;
    }

    function _accrue(uint256 positionId) private returns (Loan storage loan) {
        loan = loans[positionId];
        loan.interestAccrued = getAccruedInterest(positionId);
        loan.lastUpdateTime = block.timestamp;
    }
}
