"""How it learns: one loop for both stages, and what it needs."""
