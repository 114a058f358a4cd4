# Read by Alembic through Flask-Migrate. The database comes from config.py, logging from the app.
[alembic]
# A folder listing in the order in which the revisions were made, wherever that was.
file_template = %%(year)d%%(month).2d%%(day).2d_%%(hour).2d%%(minute).2d%%(second).2d_%%(rev)s_%%(slug)s
timezone = UTC
