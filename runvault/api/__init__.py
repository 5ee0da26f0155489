"""Floor 6: what users hold. One short method an ability, each importing its room when called."""
