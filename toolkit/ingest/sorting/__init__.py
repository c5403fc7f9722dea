"""Columns to sorted ratings: runs on disk, ids as numbers, and each pair once."""
