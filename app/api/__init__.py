"""All HTTP: what comes in is checked at one front door, what goes out has one shape for each noun."""
