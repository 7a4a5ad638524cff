"""Examples in, batches out."""
