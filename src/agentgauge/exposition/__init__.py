"""Readers of the registry: the text formats and the HTTP server."""
