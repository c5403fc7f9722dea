"""What a study is on disk or at an address: its facts, its journal, its trials, and who holds it."""
