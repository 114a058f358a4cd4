-- fractions of seconds
ALTER TABLE toy MODIFY made DATETIME;
ALTER TABLE toy MODIFY price NUMERIC;
-- names in another case
ALTER TABLE gift DROP COLUMN NAME;
ALTER TABLE toy RENAME COLUMN Price TO cost;
-- columns that swap names
ALTER TABLE gift RENAME COLUMN code TO name, RENAME COLUMN name TO code;
-- columns with a key that pass on their names
ALTER TABLE gift ADD FULLTEXT KEY ft (name);
ALTER TABLE gift RENAME COLUMN code TO old, RENAME COLUMN name TO code;
-- views of views
DROP VIEW dearest;
DROP VIEW dear;
CREATE VIEW dear AS SELECT 1 AS one;
CREATE VIEW cheap AS SELECT 1 AS one;
-- view in the server's words
CREATE OR REPLACE ALGORITHM=UNDEFINED DEFINER=CURRENT_USER SQL SECURITY DEFINER VIEW dear AS SELECT 2 AS two;
-- view of a renamed column
ALTER TABLE pet DROP CONSTRAINT ck_price, CHANGE price cost DECIMAL(10, 4);
CREATE OR REPLACE VIEW dear AS SELECT name FROM pet WHERE cost > 100;
-- view of a renamed table
RENAME TABLE pet TO animal;
CREATE OR REPLACE VIEW dear AS SELECT name FROM animal;
-- views of joined tables
CREATE TABLE p (id INT PRIMARY KEY);
CREATE TABLE c (id INT PRIMARY KEY);
CREATE VIEW v1 AS SELECT p.id, c.id AS c_id FROM p JOIN c ON c.id = p.id;
CREATE VIEW v2 AS SELECT id FROM v1;
CREATE VIEW v3 AS SELECT v2.id FROM v2 JOIN p ON p.id = v2.id;
=>
DROP TABLE c;
DROP TABLE p;
-- triggers and routines
DROP TRIGGER tidy;
CREATE TRIGGER loud BEFORE INSERT ON pet FOR EACH ROW SET NEW.tag = UPPER(NEW.tag);
DROP PROCEDURE count_pets;
DROP FUNCTION give_one;
CREATE PROCEDURE p() SELECT 1;
-- order of triggers
CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT);
CREATE TRIGGER t0 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2;
CREATE TRIGGER t1 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2 + 1;
CREATE TRIGGER t2 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2 + 2;
CREATE TRIGGER t3 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2 + 3;
=>
DROP TRIGGER t3;
DROP TRIGGER t1;
CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.w = 1;
-- renamed event
CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DISABLE DO DELETE FROM user;
=>
ALTER EVENT e RENAME TO f;
ALTER EVENT f ON SCHEDULE EVERY 2 YEAR STARTS '2037-01-01';
-- character sets and time zone of sessions
CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT);
SET NAMES latin1 COLLATE latin1_german1_ci, time_zone = '+09:00';
CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DISABLE DO DELETE FROM user;
CREATE VIEW s AS SELECT v, 'x' AS x FROM a;
CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.v = 'x' < 'X';
CREATE PROCEDURE p() SELECT 'x' < 'X';
SET NAMES utf8mb4, time_zone = DEFAULT;
=>
DROP EVENT e;
DROP VIEW s;
DROP TRIGGER t;
DROP PROCEDURE p;
-- new tables
CREATE TABLE new (id INT PRIMARY KEY, pet_id INT REFERENCES pet (id));
INSERT INTO new VALUES (1, 1);
CREATE TABLE copy AS SELECT * FROM pet;
-- dropped table
DROP TABLE pet;
-- dropped parent
SET foreign_key_checks = 0;
DROP TABLE owner;
SET foreign_key_checks = 1;
-- several dropped tables
CREATE TABLE a (id INT PRIMARY KEY, v INT);
INSERT INTO a VALUES (1, 10);
CREATE TABLE b (n INT);
=>
DROP TABLES b, a;
-- dropped and created again
DROP TABLE measure;
CREATE TABLE measure (n INT);
INSERT INTO measure VALUES (1);
-- truncated table
TRUNCATE TABLE measure;
INSERT INTO measure VALUES (1, 1, 99);
-- renamed table
RENAME TABLE pet TO animal, log TO diary;
ALTER TABLE animal DROP COLUMN notes;
-- dropped columns and keys
ALTER TABLE pet DROP COLUMN price, DROP CONSTRAINT ck_price;
ALTER TABLE pet DROP notes;
ALTER TABLE pet DROP COLUMN label, DROP COLUMN short, DROP COLUMN tag;
DROP INDEX ix_name ON pet;
CREATE INDEX ix_born ON pet (born);
-- dropped primary key
ALTER TABLE pet MODIFY id INT NOT NULL, DROP PRIMARY KEY;
-- foreign keys
ALTER TABLE pet DROP FOREIGN KEY fk_owner;
ALTER TABLE pet ADD CONSTRAINT fk_owner FOREIGN KEY (owner_id) REFERENCES owner (id) ON DELETE SET NULL;
ALTER TABLE item DROP FOREIGN KEY fk_order;
ALTER TABLE item DROP COLUMN order_id;
-- both sides of a foreign key renamed
CREATE TABLE p (Id INT PRIMARY KEY);
CREATE TABLE c (id INT PRIMARY KEY, p_id INT, CONSTRAINT fk FOREIGN KEY (p_id) REFERENCES p (Id));
=>
ALTER TABLE p RENAME COLUMN id TO pid;
ALTER TABLE c RENAME COLUMN p_id TO parent_id;
RENAME TABLE p TO q;
ALTER TABLE c ADD n INT;
-- wider keys
ALTER TABLE `order` DROP FOREIGN KEY fk_self;
ALTER TABLE item DROP FOREIGN KEY fk_order;
ALTER TABLE `order` MODIFY id BIGINT NOT NULL AUTO_INCREMENT;
ALTER TABLE `order` MODIFY parent BIGINT;
ALTER TABLE item MODIFY order_id BIGINT;
ALTER TABLE `order` ADD CONSTRAINT fk_self FOREIGN KEY (parent) REFERENCES `order` (id);
ALTER TABLE item ADD CONSTRAINT fk_order FOREIGN KEY (order_id) REFERENCES `order` (id);
-- renamed and moved
ALTER TABLE pet RENAME COLUMN notes TO remarks;
ALTER TABLE pet MODIFY remarks TEXT FIRST;
-- defaults, comments and options
ALTER TABLE pet MODIFY name VARCHAR(200);
ALTER TABLE pet ALTER kind DROP DEFAULT;
ALTER TABLE pet MODIFY kind ENUM('bird', 'cat', 'dog, or') NOT NULL;
ALTER TABLE pet COMMENT='', AUTO_INCREMENT=100;
ALTER TABLE log ROW_FORMAT=COMPACT, COMMENT='x';
-- table options
CREATE TABLE a (id INT PRIMARY KEY, v INT);
=>
ALTER TABLE a STATS_PERSISTENT=1 STATS_AUTO_RECALC=1 STATS_SAMPLE_PAGES=9 MAX_ROWS=9 MIN_ROWS=9 AVG_ROW_LENGTH=9;
ALTER TABLE a CHECKSUM=1 DELAY_KEY_WRITE=1 PACK_KEYS=1;
-- cast
ALTER TABLE pet DROP CONSTRAINT ck_price, MODIFY price DECIMAL(9, 1);
ALTER TABLE pet CHANGE born day DATE;
-- columns renamed and cast
CREATE TABLE a (id INT PRIMARY KEY, d DATETIME, v INT, UNIQUE KEY k (v));
INSERT INTO a VALUES (1, NOW(), 5);
=>
ALTER TABLE a DROP KEY k, CHANGE d n DATE, CHANGE v d CHAR(9);
UPDATE a SET d = 7;
-- generated columns
CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT, x INT AS (v + w) STORED);
INSERT INTO a (id, v, w) VALUES (1, 10, 20);
=>
ALTER TABLE a DROP COLUMN x, ADD COLUMN x VARCHAR(9) AS ('x') STORED FIRST;
ALTER TABLE a MODIFY v INT GENERATED ALWAYS AS (w * 2) STORED;
-- from column to column
ALTER TABLE gift ADD COLUMN called VARCHAR(99);
UPDATE gift SET called = name;
ALTER TABLE gift DROP COLUMN name;
ALTER TABLE gift CHANGE called name VARCHAR(99);
-- column dropped, cast, and then its table dropped
CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL UNIQUE, b DECIMAL(9, 3), c INT);
INSERT INTO t VALUES (1, 1, 1.234, 5), (2, 2, 2.345, 6);
=>
ALTER TABLE t DROP COLUMN a;
ALTER TABLE t MODIFY b INT;
DROP TABLE t;
CREATE TABLE t (n INT);
-- column dropped, and its name used again
CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL UNIQUE, b VARCHAR(9));
INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y');
=>
ALTER TABLE t DROP COLUMN a, CHANGE b a VARCHAR(3);
ALTER TABLE t ADD b DATE;
ALTER TABLE t DROP b;
-- column that counts
CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL AUTO_INCREMENT, UNIQUE KEY uq (a));
INSERT INTO t VALUES (1, 1), (2, 2);
=>
ALTER TABLE t DROP COLUMN a;
-- columns that are not valid while they are empty
CREATE TABLE t (
    id INT PRIMARY KEY,
    a VARCHAR(80) NOT NULL DEFAULT ' NOT NULL' COMMENT 'is '' NOT NULL',
    b INT NOT NULL,
    c INT NOT NULL CHECK (c > 0),
    d POINT NOT NULL,
    e TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    f ENUM('x', 'y') NOT NULL,
    g JSON NOT NULL,
    h INT NOT NULL,
    i INT AS (100 / b) STORED,
    UNIQUE KEY ua (a), UNIQUE KEY ub (h, b), UNIQUE KEY ue (e), UNIQUE KEY uf (f), UNIQUE KEY ui (i), KEY kc (c),
    SPATIAL KEY sd (d), CONSTRAINT ck CHECK (b > 0), CONSTRAINT fk FOREIGN KEY (h) REFERENCES user (id));
INSERT IGNORE INTO user (id, username, email) VALUES (1, 'a', 'a'), (2, 'b', 'b');
INSERT INTO t (id, a, b, c, d, e, f, g, h) VALUES
    (1, '1', 1, 1, POINT(1, 2), '2001-02-03 04:05:06', 'x', '[1]', 1),
    (2, '2', 2, 2, POINT(3, 4), '2002-02-03 04:05:06', 'y', '[2]', 2);
=>
ALTER TABLE t DROP FOREIGN KEY fk, DROP CONSTRAINT ck, DROP KEY ub, DROP COLUMN i;
ALTER TABLE t DROP a, DROP b, DROP c, DROP d, DROP e, DROP f, DROP g, DROP h;
-- MySQL: column with a key of an expression
CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL, UNIQUE KEY uq ((a + 1)));
INSERT INTO t VALUES (1, 1), (2, 2);
=>
ALTER TABLE t DROP KEY uq, DROP a;
-- key renamed, and values cast
CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, b DECIMAL(9, 3));
INSERT INTO t (b) VALUES (1.2);
=>
ALTER TABLE t CHANGE id number BIGINT AUTO_INCREMENT;
ALTER TABLE t CHANGE b id INT;
ALTER TABLE t ADD c INT, DROP id;
-- defaults with a decimal point
CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT);
INSERT INTO a VALUES (1, 10, 20);
=>
ALTER TABLE a MODIFY v NUMERIC(10, 2) DEFAULT 9.99;
ALTER TABLE a ADD r DOUBLE DEFAULT 1.5, DROP COLUMN w;
ALTER TABLE a ADD s DOUBLE DEFAULT .5, DROP COLUMN v;
CREATE TABLE copy AS SELECT a.id FROM a;
-- checks before others
CREATE TABLE a (id INT PRIMARY KEY, v INT, CONSTRAINT c1 CHECK (v > 1), CONSTRAINT c2 CHECK (v > 2),
    CONSTRAINT c3 CHECK (v > 3));
=>
ALTER TABLE a DROP CONSTRAINT c2;
ALTER TABLE a DROP CONSTRAINT c1;
-- percent and quotes
ALTER TABLE `100% "odd"` CHANGE `%s` pct INT, DROP COLUMN `it's`;
ALTER TABLE `100% "odd"` DROP COLUMN `x"y`;
-- backticks in names
CREATE TABLE p (`a`` b` INT PRIMARY KEY, `a``` INT, b INT DEFAULT 1, KEY `k``` (b));
INSERT INTO p VALUES (1, 2, 3);
CREATE TABLE c (id INT PRIMARY KEY, CONSTRAINT `f``` FOREIGN KEY (id) REFERENCES p (`a`` b`));
=>
ALTER TABLE p CHANGE `a`` b` ```c` INT, DROP KEY `k```;
ALTER TABLE p RENAME COLUMN `a``` TO `b```, RENAME COLUMN b TO `a```;
ALTER TABLE c DROP FOREIGN KEY `f```;
-- backslash that escapes nothing
CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(20), v INT);
INSERT INTO a VALUES (1, 'C:\\', 10);
=>
SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES';
ALTER TABLE a MODIFY s VARCHAR(20) DEFAULT 'C:\', DROP COLUMN v, ADD w INT DEFAULT '5';
-- MariaDB: statements in comments
CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT);
INSERT INTO a VALUES (1, 10, 20), (2, 30, 40);
=>
ALTER TABLE a DROP COLUMN v;
ALTER TABLE a /*M!100100 DROP COLUMN w */;
/*M! DROP TABLE a */;
-- partitions
ALTER TABLE measure PARTITION BY HASH (id) PARTITIONS 4;
-- partitions removed
ALTER TABLE measure REMOVE PARTITIONING;
-- dropped partition
CREATE TABLE a (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id)
    (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20));
INSERT INTO a VALUES (1, 1), (2, 2), (11, 11);
=>
ALTER TABLE a TRUNCATE PARTITION p1;
ALTER TABLE a DROP PARTITION p0;
-- character set
ALTER TABLE owner CONVERT TO CHARACTER SET latin1;
ALTER TABLE owner MODIFY name TEXT;
-- text of other collations
CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(20), e ENUM('a b', 'COLLATE c') NOT NULL,
    l VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german2_ci, n VARCHAR(9) COLLATE utf8mb4_bin)
    DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
INSERT INTO a VALUES (1, 'x', 'a b', 'y', 'z');
=>
ALTER TABLE a DROP COLUMN s, DROP n;
ALTER TABLE a MODIFY e VARCHAR(3), DROP l;
-- many changes of a table, among them of types, in a loose sql_mode
SET SESSION sql_mode = '';
ALTER TABLE pet ADD slug VARCHAR(80);
CREATE INDEX ix_slug ON pet (slug);
ALTER TABLE pet ADD views INT NOT NULL DEFAULT 0;
ALTER TABLE pet DROP CONSTRAINT ck_price;
ALTER TABLE pet MODIFY price VARCHAR(3);
ALTER TABLE pet CHANGE notes remarks VARCHAR(9);
CREATE TABLE tag (id INT PRIMARY KEY);
CREATE INDEX ix_remarks ON pet (remarks);
-- another character set in a loose sql_mode
CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(9)) DEFAULT CHARSET=utf8mb4;
INSERT INTO a VALUES (1, _utf8mb4 X'C5BC');
=>
SET SESSION sql_mode = '';
ALTER TABLE a MODIFY s VARCHAR(9) CHARACTER SET latin1;
-- values of ENUM in a loose sql_mode
CREATE TABLE a (id INT PRIMARY KEY, s ENUM('x', 'y'));
INSERT INTO a VALUES (1, 'y');
=>
SET SESSION sql_mode = '';
ALTER TABLE a MODIFY s ENUM('x');
-- new tables and columns that refer to each other
ALTER TABLE gift ADD COLUMN a INT FIRST;
CREATE INDEX ix_a ON gift (a, code);
CREATE TABLE fresh (id INT PRIMARY KEY, gift_id INT);
ALTER TABLE gift CHANGE code mark VARCHAR(9);
ALTER TABLE gift ADD COLUMN fresh_id INT AFTER mark;
ALTER TABLE gift ADD CONSTRAINT fk_fresh FOREIGN KEY (fresh_id) REFERENCES fresh (id);
ALTER TABLE fresh ADD COLUMN mark INT, ADD INDEX ix_mark (mark);
INSERT INTO fresh VALUES (1, 1, 2);
ALTER TABLE fresh ADD CONSTRAINT fk_gift FOREIGN KEY (gift_id) REFERENCES gift (id);
DROP INDEX ix_a ON gift;
-- column that comes back as another, and a new table that is renamed
CREATE TABLE fresh (id INT PRIMARY KEY, gift_id INT);
ALTER TABLE gift CHANGE code mark VARCHAR(9);
ALTER TABLE gift DROP COLUMN name;
ALTER TABLE gift ADD COLUMN name INT, ADD INDEX ix_name (name), COMMENT = 'mine';
ALTER TABLE fresh RENAME TO newer;
ALTER TABLE newer ADD COLUMN b INT;
CREATE INDEX ix_b ON newer (b);
ALTER TABLE gift ADD INDEX ix_mark (mark);
