"""Lets the training environment see the packages of another, so that none is built twice.

python examples/pocket/layer.py PATH_OF_SITE_PACKAGES
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

below = str(Path(sys.argv[1]).resolve())
link = Path(sysconfig.get_path("purelib")) / "agentkit_below.pth"
link.write_text(f"import site; site.addsitedir({below!r})\n", encoding="utf-8")
