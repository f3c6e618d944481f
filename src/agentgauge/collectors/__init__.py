"""Readings of the host and of this process, taken when a scrape asks for them, and the targets that the user declared."""
