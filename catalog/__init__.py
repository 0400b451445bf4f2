"""The repository: WAL and backups of one cluster under one root, with no network."""
