"""Measure swaps of subnets and palettes while requests flow."""
