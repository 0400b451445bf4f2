"""One file per codec; ``catalog.codec`` and ``catalog.decoding`` are the doors."""
