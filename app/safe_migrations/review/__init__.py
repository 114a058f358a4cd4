"""What a revision does, and what of it hurts."""
