"""The command ``tdn``: one module a command, imported only when that command runs."""
