"""Commands: what a user does; each returns a value, none prints."""
