"""The program `patchword`, also as `python -m patchword`."""

from __future__ import annotations

import sys


def main() -> None:
    """Load the commands and run one; Ctrl-C ends both without a traceback."""
    try:
        from patchword.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("patchword: interrupted.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
