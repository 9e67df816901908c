// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {Liquidation} from "./Liquidation.sol";
import {OAID} from "./OAID.sol";
import {SeniorPool} from "./SeniorPool.sol";
import {SolvencyVaultBase} from "./SolvencyVaultBase.sol";

/// @title A vault as others have deployed it
/// @notice Only the position's user may borrow and repay, so there the platform wallet must hold the position. It has no
/// operator functions at all, which is how the engine tells the two apart.
contract CustodialVault is Liquidation {
    constructor(address owner, IERC20 usdc_, OAID oaid_, SeniorPool pool_)
        SolvencyVaultBase(owner, usdc_, oaid_, pool_)
    {}

    function _mayBorrow(address user, address caller) internal pure override returns (bool) {
        return caller == user;
    }

    function _mayRepay(address user, address caller) internal pure override returns (bool) {
        return caller == user;
    }
}
