"""Measure EdgeDistill: a folder for each subject, run by `python -m benchmarks`."""
