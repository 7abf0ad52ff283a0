"""What keeps a start from succeeding."""


class StartError(Exception):
    """The start can't go on; the message is one sentence that says what to do."""
