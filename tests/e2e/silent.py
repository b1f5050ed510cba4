"""xenet's own program, whose agent announces nothing: `silent.py xenet-arguments...`."""

from xenet.agent.announce import Announcer
from xenet.cli.xenet import main

if __name__ == "__main__":
    Announcer.announce = lambda self, steps: []  # type: ignore[method-assign]
    main()
