"""Measure boards, emulated ones too, and what they need."""
