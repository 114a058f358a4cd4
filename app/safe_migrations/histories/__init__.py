"""The order of a history: its heads, and the commands that change it for years."""
