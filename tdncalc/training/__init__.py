"""Making models: configuration, data, step, loop and evaluation."""
