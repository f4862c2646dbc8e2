"""`python -m studies`: the command line where its script is not on the path, and on machines without make."""

import sys

from studies.cli import main

if __name__ == "__main__":  # processes started by this one import it again, under another name
    sys.exit(main())
