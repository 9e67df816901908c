// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {Liquidation} from "./Liquidation.sol";
import {OAID} from "./OAID.sol";
import {SeniorPool} from "./SeniorPool.sol";
import {SolvencyVaultBase} from "./SolvencyVaultBase.sol";

/// @title The vault of this engine: consent instead of custody
/// @notice A user keeps the position and approves an operator, who may borrow for it. Anyone may repay.
contract SolvencyVault is Liquidation {
    mapping(address user => mapping(address operator => bool)) public isOperator;

    event OperatorSet(address indexed user, address indexed operator, bool approved);

    constructor(address owner, IERC20 usdc_, OAID oaid_, SeniorPool pool_)
        SolvencyVaultBase(owner, usdc_, oaid_, pool_)
    {}

    /// @notice An approval names an address: an operator that changes its key needs a new one.
    function setOperator(address operator, bool approved) external {
        isOperator[msg.sender][operator] = approved;
        emit OperatorSet(msg.sender, operator, approved);
    }

    function _mayBorrow(address user, address caller) internal view override returns (bool) {
        return caller == user || isOperator[user][caller];
    }

    function _mayRepay(address, address) internal pure override returns (bool) {
        return true;
    }
}
