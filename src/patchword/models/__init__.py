"""Families: a way in, the core, ways out, presets and Hugging Face names. One file a family."""
