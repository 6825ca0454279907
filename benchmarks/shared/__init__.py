"""Share data, models, training runs and results between benchmarks."""
