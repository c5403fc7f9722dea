"""Where it runs: the `walslab` command line, job submission to a Ray cluster, and a check of the surroundings."""
