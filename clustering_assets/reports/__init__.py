"""What people read: workbooks, pictures and the data dictionary. Nothing here computes a feature or a segment."""
