"""Decide which subnet serves, plan how to get there, and do it."""
