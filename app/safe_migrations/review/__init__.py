"""The review: what a revision does, and which of its operations are dangerous."""
