"""From files to bronze: finding, recognising and reading source files, and turning their rows into order lines.

One module per source layout (``order_lines``, ``returns_export``, ``online_retail``, ``mapping``) says which column
means what. The others are the steps between a folder and the bronze tables, in the order they are taken: ``files``,
``layout``, ``bounds``, ``reading``, ``values``, ``repeats``, ``cancellations``, ``ingestion``.
"""
