"""`python -m xenet.cli.xe`: the program without its installed name."""

import sys

from xenet.cli.xe.main import main

sys.exit(main())
