"""python tests/harness/kill.py: the long form of kills.py. This file is small because every worker process imports it again."""

import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(root), str(root / "tests")]
    from harness.kills import main

    sys.exit(main())
