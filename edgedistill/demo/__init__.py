"""Run the whole path once, live."""
