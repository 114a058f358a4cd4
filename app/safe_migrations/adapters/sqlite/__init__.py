"""SQLite. In the order in which to read:

adapter.py       what the rest of the package asks for
lock.py          the lock of a file beside the database
foreign_keys.py  foreign keys are off during a run, and checked at its end
rebuilds.py      what batch mode would lose is put back, or the rebuild is refused
table_texts.py   what the text of a CREATE TABLE says
dump.py          backups: copies of all pages
databases.py     scratch databases, for rehearsals
snapshot.py      schema and rows, to compare
facts.py         what reviews, generated scripts and rehearsals ask
"""
