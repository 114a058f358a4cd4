"""The review, which lists the operations of a revision script and reports the dangerous ones."""
