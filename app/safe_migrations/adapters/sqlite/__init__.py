"""The adapter for SQLite. Read its modules in this order:

adapter.py         the class that the rest of the package calls
lock.py            one command at a time: a locked file beside the database
foreign_keys.py    foreign keys are not enforced during a run, but checked at its end
rebuilds.py        table rebuilds of batch mode, without its losses, such as triggers
table_texts.py     a parser for CREATE TABLE
stored_columns.py  columns and keys as PRAGMAs report them, to compare them after a rebuild
dump.py            backups: copies of all pages
databases.py       scratch databases for rehearsals
snapshot.py        reads the schema and the rows, to compare two states
creation.py        the SQL that creates the database again: its schema's, and rows
facts.py           limits of SQLite, and the effects of its ALTER TABLE
"""
