"""Refit a study: train its winner, or a mean of several trials, on train + valid; test it; register it."""
