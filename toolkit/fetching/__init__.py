"""Published ratings, downloaded and verified."""
