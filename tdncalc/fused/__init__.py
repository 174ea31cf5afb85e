"""Parts of the network's training as operators with kernels of their own, one per device."""
