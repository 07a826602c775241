"""`python -m pricer.cli`: the command where nothing is installed."""

from __future__ import annotations

from pricer.cli import main

if __name__ == "__main__":
    main()
