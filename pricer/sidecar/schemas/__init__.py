"""Every message and request of the protocol as a model, and what is published of them.

Adding a field is a line in `messages.py`, `tables.py` or `requests.py`, its name at the end of a list in `numbers.py`,
and `python -m pricer.sidecar.schemas`.
"""

from __future__ import annotations

__all__ = ["published"]


def published() -> dict[str, tuple[str, bytes]]:
    """Every published file: its name, its media type, and what it holds. Made once.

    "volstream.proto", "asyncapi.json", and a JSON Schema for each message and request, as "chain-snapshot.json". The
    models are loaded here, at the first call.
    """
    from pricer.sidecar.schemas.publishing import files

    return files()
