"""What is predicted. Pretraining and fine-tuning tasks are one kind of thing. One file a task."""
