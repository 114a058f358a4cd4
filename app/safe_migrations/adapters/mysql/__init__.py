"""MySQL and MariaDB. In the order in which to read:

adapter.py         what the rest of the package asks for
lock.py            the named lock
session.py         how statements run in a session, and its settings
catalog.py         what the server says of its objects: SHOW CREATE, what there is, what a restore has left

A run, whose DDL is committed at once:

journaling.py      keeps the journal while steps run, and starts the undo if one fails
journal.py         records each object before its first change, and copies of what a statement destroys
journal_table.py   the journal's table, in the same database
statements.py      what a statement names, renames and destroys, by its words (tokens.py)
table_columns.py   the columns of a table, and whether a change of type keeps their values
row_copies.py      copies of rows and values: how they are made, and how they come back

Its way back:

undo.py            restores names, texts and rows, and compares
table_restore.py   the ALTER TABLE that makes one text of a table of another
stored_objects.py  views, triggers, routines, events; definers.py says whose we may create

Other commands:

dump.py            backups, by the client programs
databases.py       scratch databases, for rehearsals
snapshot.py        schema and rows, to compare
facts.py           what reviews, generated scripts and rehearsals ask
"""
