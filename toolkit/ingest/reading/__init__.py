"""Ratings files to columns: where they lie, how they are cut, and what each field means."""
