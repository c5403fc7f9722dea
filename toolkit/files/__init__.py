"""Directories that are whole or not there, addresses beside paths, and secrets that no message shows."""
