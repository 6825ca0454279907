"""Keep finished experiments whose result decided something; `python -m benchmarks run` runs them too."""
