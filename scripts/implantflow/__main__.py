"""``python -m implantflow``."""

import sys

from implantflow.cli import main

sys.exit(main())
