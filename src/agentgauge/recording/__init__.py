"""The hot path: calls become events, events become series, and the registry shows them."""
