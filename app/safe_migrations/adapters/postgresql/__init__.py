"""PostgreSQL. In the order in which to read:

adapter.py    what the rest of the package asks for
lock.py       the advisory lock
dump.py       backups, by the client programs
databases.py  scratch databases, for rehearsals
snapshot.py   schema and rows, to compare
facts.py      what reviews, generated scripts and rehearsals ask
"""
