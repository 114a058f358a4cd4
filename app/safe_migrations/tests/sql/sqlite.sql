ALTER TABLE [my a] ADD "b"
--> AddColumn my a b NullType()
CREATE TABLE main.a (id INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT COLLATE NOCASE) WITHOUT ROWID, STRICT
--> CreateTable a (id INTEGER() NOT NULL PRIMARY_KEY, b TEXT(collation='NOCASE'))
CREATE INDEX ix ON a (b COLLATE NOCASE DESC) WHERE b IS NOT NULL
--> CreateIndex a index_name=ix columns=['b']
CREATE TRIGGER t AFTER UPDATE ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM b; END; DROP TABLE a
--> Command a words=CREATE TRIGGER name=t
--> DropTable a
PRAGMA foreign_keys = OFF
--> Command words=SET PRAGMA name=foreign_keys
PRAGMA table_info(a)
--> Command words=PRAGMA name=table_info
PRAGMA user_version(5)
--> Command words=SET PRAGMA name=user_version
INSERT OR REPLACE INTO a VALUES (1)
--> ChangeRows a verb=REPLACE bounded=True given=True
INSERT INTO a (b) SELECT b FROM c WHERE true ON CONFLICT (b) DO UPDATE SET b = 2
--> ChangeRows a verb=REPLACE bounded=False
CREATE TABLE a (b INT UNIQUE ON CONFLICT REPLACE)
--> Command words=CREATE TABLE parsed=False
