ALTER TABLE a ADD COLUMN b INTEGER NOT NULL DEFAULT 5
--> AddColumn a b INTEGER() NOT NULL DEFAULT 5
ALTER TABLE a ADD b VARCHAR(20) DEFAULT 'x, y; -- no comment' UNIQUE
--> AddColumn a b VARCHAR(length=20) DEFAULT 'x, y; -- no comment' UNIQUE
ALTER TABLE a ADD COLUMN b INTEGER CONSTRAINT fk REFERENCES c (id) ON DELETE CASCADE
--> AddColumn a b INTEGER() -> c.id inline_references inline_references=True
ALTER TABLE a ADD b INT GENERATED ALWAYS AS (c * (2 + 1)) STORED
--> AddColumn a b INTEGER() AS c * (2 + 1) True
ALTER TABLE a DROP b
--> DropColumn a column_name=b
ALTER TABLE a RENAME TO b
--> RenameTable a new_table_name=b
ALTER TABLE a RENAME COLUMN x TO y
--> AlterColumn a column_name=x modify_name=y
alter table a /* ; drop table b; */ add -- drop column c,
--> Command a words=ALTER TABLE ... ADD parsed=False
CREATE INDEX ix ON a (b, lower(c))
--> CreateIndex a index_name=ix columns=['b', 'lower(c)']
CREATE UNIQUE INDEX ix ON s.a (b)
--> CreateIndex s.a index_name=ix columns=['b'] unique=True
DROP TABLE IF EXISTS a, s.b; DROP INDEX ix;
--> DropTable a
--> DropTable s.b
--> DropIndex index_name=ix
CREATE TABLE a (id INTEGER PRIMARY KEY, b INT REFERENCES c (id), d NUMERIC(10, 2) NOT NULL, CONSTRAINT u UNIQUE (b), FOREIGN KEY (b) REFERENCES c (id), CHECK (d > 0))
--> CreateTable a (id INTEGER() NOT NULL PRIMARY_KEY, b INTEGER() -> c.id inline_references, d NUMERIC(precision=10, scale=2) NOT NULL, UniqueConstraint, ForeignKeyConstraint, CheckConstraint)
CREATE TABLE a AS SELECT * FROM b
--> CreateTable a
SELECT 'DROP TABLE a; DELETE FROM b'
--> Command words=SELECT
-- DROP TABLE a
INSERT INTO a (b) VALUES ('DELETE FROM c')
--> ChangeRows a verb=INSERT bounded=True given=True
UPDATE a SET b = 1
--> ChangeRows a verb=UPDATE bounded=False columns=('b',)
UPDATE a SET b = 1 WHERE 1 = 1 OR c = 2
--> ChangeRows a verb=UPDATE bounded=False columns=('b',)
UPDATE a SET b = 1 WHERE c = 2
--> ChangeRows a verb=UPDATE bounded=True columns=('b',)
DELETE FROM s.a
--> ChangeRows s.a verb=DELETE bounded=False
DELETE FROM a WHERE true
--> ChangeRows a verb=DELETE bounded=False
DELETE FROM a WHERE 1 = 0
--> ChangeRows a verb=DELETE bounded=True
WITH x AS (SELECT 1 AS id) DELETE FROM a WHERE id IN (SELECT id FROM x)
--> ChangeRows a verb=DELETE bounded=True
BEGIN
--> Command words=BEGIN
ROLLBACK TO SAVEPOINT x
--> Command words=ROLLBACK TO
DROP VIEW v
--> Command words=DROP VIEW name=v drops=True
GRANT nothing that anybody could read
--> Command words=GRANT
ALTER TABLE a ADD
--> Command a words=ALTER TABLE ... ADD parsed=False
FROBNICATE a
--> Command words=FROBNICATE A parsed=False
UPDATE a SET
--> ChangeRows a verb=UPDATE bounded=False
DROP TABLE 'a
--> Command words=DROP TABLE parsed=False
INSERT INTO a SELECT * FROM b
--> ChangeRows a verb=INSERT bounded=True source=(None, 'b')
INSERT INTO a DEFAULT VALUES
--> ChangeRows a verb=INSERT bounded=True
