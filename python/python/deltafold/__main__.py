"""The program ``deltafold``: ``python -m deltafold --help``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from deltafold import _deltafold


def main() -> int:
    """Runs the program with the arguments of the process. Returns its exit code."""
    # Python would only note the signal. Some commands catch it; it ends the others at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        # The script of the same installation, for the hints of the program.
        script = Path(sys.executable).with_name("deltafold")
        called = script if script.is_file() else Path("deltafold")
    return _deltafold.main([str(called), *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
