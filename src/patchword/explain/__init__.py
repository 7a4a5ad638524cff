"""What a model does with an input, seen from outside: nothing in the model knows of it."""
