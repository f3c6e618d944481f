"""What measures frameworks with no line of code in the program: a file for each, and their table in ``roster``."""
