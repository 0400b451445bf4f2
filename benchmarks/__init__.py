"""Figures, as ratios against PostgreSQL's own tools; ``python -m benchmarks``."""
