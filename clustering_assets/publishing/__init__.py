"""Tables for the business, in a database of its own choice.

``publish`` decides what has to be done; ``sql_database`` and ``duckdb_file`` are the places that it can be done in.
"""
