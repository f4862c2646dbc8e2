"""The one exception of the data layer."""


class DataError(ValueError):
    """Data that is missing, damaged or malformed. The message names the file, the line and the value where there are
    any, and says what to do about it."""
