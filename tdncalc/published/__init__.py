"""The network of arXiv:2507.01131 as its authors published it."""
