"""Which ratings are held out for validation and test."""
