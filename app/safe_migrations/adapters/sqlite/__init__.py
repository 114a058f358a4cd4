"""SQLite. In the order in which to read:

adapter.py       what the rest of the package asks for
lock.py          the lock of a file beside the database
foreign_keys.py  those are off while a run goes on, and looked at in its end
rebuilds.py      what batch mode would lose is put back or refused, by the texts of tables (table_texts.py)
dump.py          backups: copies of all pages
databases.py     scratch databases, for rehearsals
snapshot.py      schema and rows, to compare
facts.py         what reviews, generated scripts and rehearsals ask; shadow.py runs a batch in memory for that
"""
