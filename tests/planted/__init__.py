"""Bugs that must be caught: each is planted into a copy of the tree, where its test must fail (proof.md)."""
