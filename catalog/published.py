"""What a running process publishes for others to read.

Replaced atomically and never synced, because losing it loses nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from catalog import durable


def publish(path: str, document: Mapping[str, object]) -> None:
    """Put a document in the place of the one before; ``OSError`` when that fails."""
    # Always the same name, because only the holder of a lock writes: killed processes leave no heap of them.
    temporary = f"{path}.new"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), durable.FILE_MODE)
            json.dump(document, file)
        os.rename(temporary, path)
    except BaseException:
        durable.remove_if_present(temporary)
        raise
