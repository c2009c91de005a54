"""Datasets, resumable evaluation runs, statistics and reports, with a bundled world of true facts."""
