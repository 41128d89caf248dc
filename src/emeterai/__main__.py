"""`python -m emeterai` is the `emeterai` command."""

import sys

from emeterai.cli import main

sys.exit(main())
