"""Data sets of text: stories, source files, the user's own."""
