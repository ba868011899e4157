"""The wire protocol of the storage servers: the one place of the core that knows its statuses and headers.

Commands become headers, answers become results and errors: `objects` and `databases` translate.
"""
