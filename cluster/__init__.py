"""Where it runs: the `walslab` command, jobs on a Ray cluster, and a check of the surroundings."""
