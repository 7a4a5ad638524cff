"""`patchword demo`: both stages on what the installation brings, in a few minutes, as one table and one page."""
