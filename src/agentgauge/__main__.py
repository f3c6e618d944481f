"""``python -m agentgauge``: the same as the command ``agentgauge``."""

import sys

from agentgauge.cli import main

if __name__ == "__main__":
    sys.exit(main())
