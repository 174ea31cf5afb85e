"""Checkpoints of the published code: read safely, and made into model folders."""
