"""Physics checks of a model, with figures."""
