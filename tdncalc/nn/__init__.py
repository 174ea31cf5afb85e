"""Building blocks of the networks: the coupling tensor, its product, and equivariant layers."""
