"""Measure exports, and check their graphs."""
