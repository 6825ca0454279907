"""The whole path once, live."""
