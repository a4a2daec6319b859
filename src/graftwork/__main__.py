"""`python -m graftwork`, the command line where its script is not on the path (under torchrun, for one)."""

from __future__ import annotations

from graftwork.cli import main

if __name__ == "__main__":
    main()
