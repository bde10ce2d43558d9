"""Where the queue depth comes from: one module per source, each with a ``read() -> Reading``."""
