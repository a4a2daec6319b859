"""The program `graftwork`, also started by `python -m graftwork`.

Signal handlers are installed before the slow imports, so that an early signal also has its exit code.
"""

from __future__ import annotations

import sys

from graftwork.common.runs.signals import Stopped, heed


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    try:
        heed()
        from graftwork.cli import main as command_line

        command_line()
    except KeyboardInterrupt as error:  # during the imports
        reason = f"by {error}" if isinstance(error, Stopped) else "by Ctrl-C"
        sys.stderr.write(f"stopped {reason}; nothing was started\n")
        sys.exit(error.exit_code if isinstance(error, Stopped) else 130)


if __name__ == "__main__":
    main()
