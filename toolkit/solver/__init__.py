"""One training: normal equations, half-steps, factors, and when to stop."""
