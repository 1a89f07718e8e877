"""Tests that `test_guard.py` runs in a pytest of its own, and interrupts."""
