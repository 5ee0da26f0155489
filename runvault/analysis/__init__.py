"""Floor 4: questions asked of an archive."""
