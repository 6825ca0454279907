"""Measure what training costs."""
