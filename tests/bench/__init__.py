"""Benches: each prints a table with its goal beside each figure. They measure; they are not timed tests."""
