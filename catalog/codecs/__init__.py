"""One file per codec; ``catalog.codec`` is the door."""
