"""PostgreSQL. In the order in which to read:

adapter.py    what the rest of the package calls
lock.py       the advisory lock
dump.py       backups and restores, by the client programs; drop_all.sql and others run in a restore
databases.py  scratch databases for rehearsals, and what they can reach
snapshot.py   rows and objects (objects.sql), to compare
facts.py      what reviews, generated scripts and rehearsals ask
"""
