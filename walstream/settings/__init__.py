"""The configuration file, as frozen values."""
