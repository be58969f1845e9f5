"""mlrepro: source control for models."""
