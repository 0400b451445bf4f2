"""Continuous protection for PostgreSQL: streamed WAL, base backups, point-in-time recovery."""

__version__ = "0.1.0"
