"""Writing: a model that scores next words, asked again and again."""
