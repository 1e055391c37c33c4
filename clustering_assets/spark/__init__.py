"""Bronze, silver and the placing of customers on Apache Spark, for order lines that one machine cannot hold.

What a row, a feature or a segment is stands in `sources`, `features`, `imputation` and `segmentation`; here is only how
that text gets to where the rows are. Nothing here is imported unless the engine is Spark.
"""
