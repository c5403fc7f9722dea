"""The search file: its keys, its domains, and the reader that lists every mistake at once."""
