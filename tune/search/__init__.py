"""Who is tried next, and who goes on: proposals, starting points, halving, and the run of a study."""
