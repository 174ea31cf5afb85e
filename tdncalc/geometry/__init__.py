"""Atoms as a graph: who sees whom, within a cutoff and through periodic boundaries."""
