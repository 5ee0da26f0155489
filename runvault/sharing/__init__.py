"""Archives meet: fetched, checked, merged, sent, carried in a file."""
