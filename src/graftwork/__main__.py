"""The program `graftwork`, and `python -m graftwork` where its script is not on the path (under torchrun, for one).

Signals are heeded before anything is imported that takes time, so that one that comes early has its exit code too.
"""

from __future__ import annotations

import sys

from graftwork.common.runs.signals import Stopped, heed

__all__ = ["main"]


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    try:
        heed()
        from graftwork.cli import main as command_line

        command_line()
    except KeyboardInterrupt as error:  # while it was imported
        said = f"by {error}" if isinstance(error, Stopped) else "interrupted"
        sys.stderr.write(f"stopped: {said}; nothing was begun\n")
        sys.exit(error.exit_code if isinstance(error, Stopped) else 130)


if __name__ == "__main__":
    main()
