"""`make demo`: one borrow and one repayment on the real stack, shown as they happen and checked when they are done."""
