"""`python -m agentkit.cli`, where the console script is not on the path."""

import sys

from agentkit.cli.app import main

sys.exit(main())
