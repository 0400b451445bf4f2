"""The age v1 file format (https://c2sp.org/age): what it looks like, its keys, both ways."""
