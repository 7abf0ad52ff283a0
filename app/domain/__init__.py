"""The support policy as pure code: it knows the rules and nothing of HTTP, SQL or the clock."""
