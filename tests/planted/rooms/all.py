"""Every planted bug, room by room."""

from tests.planted.bug import Bug
from tests.planted.rooms import lane, ledger, limits, mending, operations, outside, receipts, repayments, store, upkeep

BUGS: list[Bug] = [
    *operations.BUGS,
    *limits.BUGS,
    *ledger.BUGS,
    *store.BUGS,
    *lane.BUGS,
    *mending.BUGS,
    *receipts.BUGS,
    *repayments.BUGS,
    *outside.BUGS,
    *upkeep.BUGS,
]
