"""What numbers say: pure functions over arrays, their sources cited; they know of no metric and no source."""
