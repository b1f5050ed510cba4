"""xenet's own program with less patience: hosts that are silent are given up after 6 s. `hasty.py xenet-arguments...`."""

from datetime import timedelta

from xenet.cli.xenet import main
from xenet.server import core
from xenet.verbs import call, operation

if __name__ == "__main__":
    for module in (call, core, operation):
        module.PATIENCE = timedelta(seconds=6)  # type: ignore[attr-defined]
    main()
