"""MySQL and MariaDB. In the order in which to read:

adapter.py         what the rest of the package asks for
lock.py            the named lock
session.py         how statements run in a session, and its settings
catalog.py         what the server says of its objects: SHOW CREATE, what there is, what a restore has left
columns.py         the columns of a table, and SQL about them

A run, whose DDL is committed at once:

steps.py           what stands around the steps: the journal, and the undo if one fails
journal.py         before each statement: writes down what that is about to change
entries.py         what is written down, in a table of the same database
revision.py        what is known of the revision under way
schema.py          which objects a statement touches
statements.py      what a statement does, by its words (tokens.py)
modifications.py   what MODIFY and CHANGE make of a column
copies.py          the copies of rows, made before a statement takes them

Its way back:

undo.py            puts back what the entries say, the last statement first
definitions.py     the way from one text of a table to another
returning_rows.py  how the rows of a copy come back
stored_objects.py  views, triggers, routines, events; definers.py says whose we may make
outcome.py         what came of it

Other commands:

dump.py            backups, by the client programs
databases.py       scratch databases, for rehearsals
snapshot.py        schema and rows, to compare
facts.py           what reviews, generated scripts and rehearsals ask
"""
