"""Present: values to text for people, to JSON and CSV for programs."""
