"""`python tests/harness/recompute`: see the package's own description."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
from recompute import main  # noqa: E402 -- the package that this file is in

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
