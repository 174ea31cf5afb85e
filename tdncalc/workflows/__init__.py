"""Relaxation and molecular dynamics of any ``Atoms`` with any ASE calculator."""
