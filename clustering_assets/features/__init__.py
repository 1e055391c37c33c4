"""Features of customers as expressions over order lines: one module per group, and the grains they share."""
