"""Numbers, pictures, pages and sentences about what was made."""
