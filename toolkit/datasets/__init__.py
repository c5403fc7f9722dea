"""A dataset directory as its readers see it: shards, ids, titles and statistics."""
