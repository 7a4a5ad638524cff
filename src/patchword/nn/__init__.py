"""The core: tensors in, tensors out. Knows no text, no image, no task, no family and no file."""
