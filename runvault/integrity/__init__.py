"""Floor 4: whether an archive is what it says it is."""
