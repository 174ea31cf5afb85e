"""``python -m tdncalc`` is the command ``tdn``."""

import sys

from tdncalc.cli.main import main

sys.exit(main())
