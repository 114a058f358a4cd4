"""What becomes of the differences that Alembic finds, before a script is written of them; `generation.py` begins."""
