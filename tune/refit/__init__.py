"""What a study was run for: its winner, or a mean of several, trained, tested and registered."""
