"""Floor 7: parse, call one method, show."""
