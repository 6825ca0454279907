"""Predict what subnets cost here and now: latency, memory, heat, and drift from the profile."""
