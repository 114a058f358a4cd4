ALTER TABLE `my db`.`us``er` ADD `b` INT UNSIGNED NOT NULL COMMENT 'x, y' AFTER c, DROP c, ALGORITHM=INPLACE, LOCK = NONE
--> AddColumn my db.us`er b INTEGER(unsigned=True) NOT NULL COMMENT asks={'algorithm': 'INPLACE', 'lock': 'NONE'}
--> DropColumn my db.us`er column_name=c asks={'algorithm': 'INPLACE', 'lock': 'NONE'}
ALTER TABLE a MODIFY COLUMN b VARCHAR(20) CHARACTER SET latin1 NOT NULL DEFAULT 'x', CHANGE c d TEXT, MODIFY e INT AUTO_INCREMENT
--> AlterColumn a column_name=b modify_nullable=False modify_server_default='x' modify_type=VARCHAR(20)
--> AlterColumn a column_name=c modify_nullable=True modify_name=d modify_type=TEXT
--> AlterColumn a column_name=e modify_nullable=True modify_type=INTEGER kw={'autoincrement': True}
ALTER TABLE a ADD (b ENUM('x', 'y'), c DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), d TINYINT(1))
--> AddColumn a b ENUM('x', 'y')
--> AddColumn a c DATETIME(fsp=6) DEFAULT CURRENT_TIMESTAMP(6)
--> AddColumn a d TINYINT(display_width=1)
ALTER TABLE a ADD b INT AS (c + 1) VIRTUAL
--> AddColumn a b INTEGER() AS c + 1 False
ALTER TABLE a ADD e SET('x')
--> AddColumn a e SET('x')
ALTER TABLE a ADD INDEX ix (b(10))
--> CreateIndex a index_name=ix columns=['b'] kw={'mysql_length': {'b': 10}}
ALTER TABLE a ADD UNIQUE KEY uq (c)
--> CreateUniqueConstraint a constraint_name=uq columns=['c']
ALTER TABLE a ADD SPATIAL KEY (e)
--> CreateIndex a columns=['e'] kw={'mysql_prefix': 'SPATIAL'}
ALTER TABLE a ADD PRIMARY KEY (id)
--> CreatePrimaryKey a columns=['id']
ALTER TABLE a ADD CONSTRAINT fk FOREIGN KEY ix (b) REFERENCES c (id) ON UPDATE CASCADE
--> CreateForeignKey a constraint_name=fk referent_table=c local_cols=['b'] remote_cols=['id'] kw={'onupdate': 'CASCADE'}
ALTER TABLE a DROP KEY iy
--> DropIndex a index_name=iy
ALTER TABLE a DROP PRIMARY KEY
--> DropConstraint a constraint_name=PRIMARY constraint_type=primary
ALTER TABLE a DROP FOREIGN KEY fk
--> DropConstraint a constraint_name=fk constraint_type=foreignkey
ALTER TABLE a DROP CONSTRAINT c
--> DropConstraint a constraint_name=c
ALTER TABLE a DROP CHECK d
--> DropConstraint a constraint_name=d constraint_type=check
ALTER TABLE a RENAME INDEX x TO y
--> Command a words=RENAME INDEX name=x
ALTER TABLE a RENAME AS b
--> RenameTable a new_table_name=b
ALTER TABLE a ENGINE=InnoDB ROW_FORMAT=DYNAMIC
--> Command a words=ENGINE
ALTER TABLE a CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
--> Command a words=CONVERT TO CHARACTER SET
ALTER ONLINE IGNORE TABLE a ADD b INT
--> AddColumn a b INTEGER()
RENAME TABLE a TO b, c TO d
--> RenameTable a new_table_name=b
--> RenameTable c new_table_name=d
CREATE FULLTEXT INDEX ix ON a (b) ALGORITHM=INPLACE LOCK=SHARED
--> CreateIndex a index_name=ix columns=['b'] kw={'mysql_prefix': 'FULLTEXT'} asks={'algorithm': 'INPLACE', 'lock': 'SHARED'}
DROP INDEX ix ON s.a LOCK=NONE
--> DropIndex s.a index_name=ix asks={'lock': 'NONE'}
CREATE TABLE a (id INT NOT NULL AUTO_INCREMENT, b VARCHAR(9), PRIMARY KEY (id), KEY ix (b), UNIQUE KEY u (b), FULLTEXT KEY ft (b)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
--> CreateTable a (id INTEGER() NOT NULL, b VARCHAR(length=9), PrimaryKeyConstraint, UniqueConstraint)
--> CreateIndex a index_name=ix columns=['b']
--> CreateIndex a index_name=ft columns=['b'] kw={'mysql_prefix': 'FULLTEXT'}
CREATE OR REPLACE TABLE a (id INT)
--> DropTable a
--> CreateTable a (id INTEGER())
DROP TEMPORARY TABLE a
--> Command words=DROP TEMPORARY TABLE
UPDATE a SET b = 1 ORDER BY id LIMIT 10
--> ChangeRows a verb=UPDATE bounded=True columns=('b',)
UPDATE a JOIN c ON a.id = c.id SET c.b = 1
--> ChangeRows c verb=UPDATE bounded=True columns=('b',)
DELETE x FROM a AS x JOIN b ON x.id = b.id
--> ChangeRows a verb=DELETE bounded=True
DELETE FROM a WHERE b = 'it\'s; DROP TABLE x' # all of them
--> ChangeRows a verb=DELETE bounded=True
REPLACE INTO a VALUES (1)
--> ChangeRows a verb=REPLACE bounded=True given=True
INSERT IGNORE INTO a VALUES (1) ON DUPLICATE KEY UPDATE b = 2
--> ChangeRows a verb=REPLACE bounded=True given=True
CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN IF NEW.x THEN DELETE FROM b; END IF; SET NEW.x = 1; END; DROP VIEW v
--> Command a words=CREATE TRIGGER name=t
--> Command words=DROP VIEW name=v drops=True
BEGIN NOT ATOMIC DELETE FROM a; END
--> Command words=BEGIN NOT ATOMIC
CREATE DEFINER=`root`@`%` SQL SECURITY INVOKER VIEW v AS SELECT 1
--> Command words=CREATE VIEW name=v
SET SESSION autocommit=0
--> Command words=SET AUTOCOMMIT
LOCK TABLES a WRITE, b READ
--> Command a words=LOCK TABLE
--> Command b words=LOCK TABLE
/*!40101 DROP TABLE a */; /* DROP TABLE b */
--> DropTable a
DROP DATABASE d
--> Command words=DROP DATABASE name=d drops=True
LOAD DATA INFILE 'x' INTO TABLE a
--> Command words=LOAD DATA
UPDATE a x LEFT JOIN c y ON x.id = y.id SET x.b = 1
--> ChangeRows a verb=UPDATE bounded=False columns=('b',)
CREATE INDEX ix USING BTREE ON a (b(10) DESC, c) COMMENT 'x'
--> CreateIndex a index_name=ix columns=['b', 'c'] kw={'mysql_length': {'b': 10}}
ALTER TABLE a ADD b BIGINT(20) UNSIGNED
--> AddColumn a b BIGINT(display_width=20, unsigned=True)
ALTER TABLE a ADD f BOOL
--> AddColumn a f BOOLEAN()
ALTER TABLE a ADD b INT CHECK (b > 0) NOT ENFORCED, DROP c
--> Command a words=ALTER TABLE ... ADD parsed=False
--> DropColumn a column_name=c
