"""What keeps a client's configuration from being made, said to the person who asked for it.

Knows no client.
"""


class ClientError(Exception):
    """The text says what is, with the file, and what to do."""
