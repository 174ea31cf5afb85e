"""Making models: configuration, data, loss, loop and evaluation. Nothing outside imports it but the command line."""
