"""What is wrong with labelled data, told before a model learns from it."""
