"""Everything that tdncalc raises on purpose.

::

    TDNError
    ├── StructureError      (ValueError)   a structure that cannot be read or used
    ├── OptionError         (ValueError)   an argument or option outside what is allowed
    ├── ConfigError         (ValueError)   a training configuration that cannot be used
    ├── DataError           (ValueError)   a data set that cannot be read or used
    ├── ModelNotFoundError  (LookupError)  no bundled model and no folder of that name
    ├── DamagedModelError   (ValueError)   a model folder whose files are wrong
    ├── OutOfMemoryError    (MemoryError)  a structure too large for this machine
    ├── OutputError         (OSError)      a file that exists already or cannot be written
    └── CheckpointError     (ValueError)   a checkpoint that cannot be resumed or imported

Every message is one line: what was given, what is allowed, what to do.
"""

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DamagedModelError",
    "DataError",
    "ModelNotFoundError",
    "OptionError",
    "OutOfMemoryError",
    "OutputError",
    "StructureError",
    "TDNError",
]


class TDNError(Exception):
    """The base of every error that tdncalc raises on purpose."""


class StructureError(TDNError, ValueError):
    """A structure cannot be read or used: its file, elements, positions or cell."""


class OptionError(TDNError, ValueError):
    """An argument or option lies outside what is allowed."""


class ConfigError(TDNError, ValueError):
    """A training configuration has an unknown key or an impossible value."""


class DataError(TDNError, ValueError):
    """A data set cannot be read or used."""


class ModelNotFoundError(TDNError, LookupError):
    """No bundled model and no model folder has the given name."""

    def __str__(self) -> str:
        return str(self.args[0])


class DamagedModelError(TDNError, ValueError):
    """A model folder is incomplete or its files do not match their card."""


class OutOfMemoryError(TDNError, MemoryError):
    """A structure is too large for the memory of this machine or device."""


class OutputError(TDNError, OSError):
    """An output exists already, or cannot be written."""


class CheckpointError(TDNError, ValueError):
    """A run's checkpoint is damaged or another run's, or one to import is not what it must be."""
