"""Serve requests while everything else fails."""
