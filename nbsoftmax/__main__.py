"""`python -m nbsoftmax`."""

import sys

from nbsoftmax.cli import main

sys.exit(main())
