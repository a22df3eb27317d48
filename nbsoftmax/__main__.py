"""`python -m nbsoftmax`."""

import sys

from nbsoftmax.cli.parser import main

sys.exit(main())
