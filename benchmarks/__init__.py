"""Side-by-side measurements; each prints a table and, last, one line of JSON with its ratios."""
