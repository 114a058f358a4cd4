"""The adapter for MySQL and MariaDB. Its modules, in the order in which to read them:

adapter.py         the functions that the rest of the package calls
lock.py            the named lock, which only one command at a time can hold
leased_lock.py     the lock on a Galera cluster: rows of a table, with a lease
standby.py         refuses a server that is read-only, as a replica is
session.py         runs SQL in a session, and reads and changes the session's settings
catalog.py         lists existing objects, and reads their SHOW CREATE
keys.py            primary keys as text, by which a backfill continues

While an upgrade or downgrade runs (the server commits each DDL statement at once):

journaling.py      passes each statement to the journal, and undoes a revision that fails
journal.py         records each object before its first change, and copies rows and values that a statement destroys
journal_table.py   the table in the app's database that stores the journal
statements.py      finds the objects that a statement names, renames and destroys, by its words (tokens.py)
table_columns.py   the columns of a table, and whether a change of type keeps their values
row_copies.py      copies rows and values, and restores them

After a revision has failed or was killed:

undo.py            restores names, definitions and rows from the journal, and compares the result with the journal
table_restore.py   the ALTER TABLE that restores a table's earlier definition
stored_objects.py  restores views, triggers, routines and events; definers.py finds out if the user may create them

Other commands:

dump.py            backups, by mysqldump and mysql, or by mariadb-dump and mariadb
databases.py       scratch databases for rehearsals
snapshot.py        reads schema and rows, to compare two states of a database
creation.py        the SQL that creates the database again: SHOW CREATE, and rows
facts.py           what a DDL statement does on this server, e.g. whether it copies the table
"""
