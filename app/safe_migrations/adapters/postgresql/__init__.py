"""The adapter of PostgreSQL. Its files, in the order in which to read them:

adapter.py    the methods that the rest of the package calls
lock.py       the advisory lock
standby.py    refuses a server that is read-only, as a standby is
dump.py       backups and restores by pg_dump, pg_restore and psql, which runs drop_all.sql and as_in_a_new_database.sql
databases.py  scratch databases for rehearsals, each with a user who has rights only there
snapshot.py   rows and schema (objects.sql), to compare two states
creation.py   the SQL that creates the database again, from pg_dump
facts.py      the behaviour of PostgreSQL, e.g. which type changes rewrite the table
"""
