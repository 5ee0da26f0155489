"""Floor 4: is the archive what it says it is?"""
