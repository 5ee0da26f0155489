"""The archive branch: read through the git programs, written through libgit2, never through the user's checkout."""
