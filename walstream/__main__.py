"""``python -m walstream``."""

import sys

from walstream.cli import main

sys.exit(main())
