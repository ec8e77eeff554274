"""`python -m rabbitgw`: the same as the `rabbitgw` command."""

import sys

from rabbitgw.cli import main

sys.exit(main())
