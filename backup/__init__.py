"""Taking base backups, and restoring them."""
