"""Everything that talks to others: the facts of other people's packages and services."""
