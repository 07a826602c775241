"""`python -m pricer.sidecar.schemas [DIRECTORY]`: writes what is published, by default to docs/schemas."""

from __future__ import annotations

import sys
from pathlib import Path

from pricer.errors import ConfigError
from pricer.sidecar.schemas.publishing import write

if __name__ == "__main__":
    try:
        write(Path(*sys.argv[1:2] or ["docs", "schemas"]))
    except ConfigError as error:
        sys.exit(str(error))
