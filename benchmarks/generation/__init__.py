"""Measure decoders that generate text."""
