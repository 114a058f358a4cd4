"""Rules about what happens to rows."""
