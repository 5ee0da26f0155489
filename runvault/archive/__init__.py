"""Floor 3: the archive. Composes the stores and the model; knows no file format and no engine's types."""
