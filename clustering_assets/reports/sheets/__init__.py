"""The sheets of the workbook for business people, one module each."""
