"""Archives meet: fetched, checked, reviewed, merged, sent, carried in a file."""
