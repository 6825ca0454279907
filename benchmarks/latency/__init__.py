"""Measure how long requests take."""
