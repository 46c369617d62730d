"""The one exception that stands for bad input."""


class UserError(Exception):
    """Bad input from the user: its message is one line that says what to do about it.

    Command lines print the message without a traceback and exit with a code other than 0.
    """
