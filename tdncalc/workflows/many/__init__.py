"""Many structures at once: relaxed and simulated together in batches."""
