"""Floor 4: running strategies and archiving what they return; running archived runs again."""
