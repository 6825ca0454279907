"""Measure memory, disk and load times."""
