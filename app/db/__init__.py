"""Everything that is kept: the tables, the one way to reach them, and the statements of each noun."""
