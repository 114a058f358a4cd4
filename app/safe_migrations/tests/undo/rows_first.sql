-- children deleted by a foreign key
DELETE FROM owner WHERE id = 1;
CREATE TABLE t (a INT);
-- column renamed and cast, then written
ALTER TABLE gift CHANGE n called CHAR(3);
UPDATE gift SET called = 'x';
CREATE TABLE t (a INT);
-- columns that pass on their names
ALTER TABLE gift RENAME COLUMN code TO old, RENAME COLUMN name TO code;
UPDATE gift SET old = NULL;
CREATE TABLE t (a INT);
-- tables that swap names
RENAME TABLE log TO x;
RENAME TABLE audit TO log;
RENAME TABLE x TO audit;
INSERT INTO log (what) VALUES ('new');
CREATE TABLE t (a INT);
-- tables that swap names in one statement
CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT);
INSERT INTO a VALUES (1, 10, 20);
CREATE TABLE b (id INT PRIMARY KEY, x INT);
=>
RENAME TABLE a TO t, b TO a, t TO b;
UPDATE b SET v = 11;
CREATE TABLE c (n INT);
-- trigger of a renamed table
RENAME TABLE owner TO person;
UPDATE person SET code = 'z' WHERE id = 1;
CREATE TABLE t (a INT);
-- trigger that sets a column
ALTER TABLE toy ADD n INT;
UPDATE toy SET n = 1;
CREATE TABLE t (a INT);
-- new trigger and its rows
CREATE TRIGGER t2 AFTER INSERT ON item FOR EACH ROW INSERT INTO audit (what) VALUES ('item');
INSERT INTO item VALUES (5, 1);
CREATE TABLE new (id INT);
-- WHERE in a subquery
ALTER TABLE owner ADD n INT;
UPDATE owner SET n = (SELECT MAX(id) FROM item WHERE id > 0), name = 'x';
CREATE TABLE t (a INT);
-- rows
UPDATE pet SET name = 'REX', notes = NULL WHERE id = 1;
DELETE FROM pet WHERE id = 2;
INSERT INTO pet (name, tag) VALUES ('Kim', 'k');
UPDATE `100% "odd"` SET `%s` = 7;
ALTER TABLE log ADD COLUMN id INT;
-- rows and their column
UPDATE pet SET notes = CONCAT('x', notes);
ALTER TABLE pet DROP COLUMN notes;
-- rows and their table
DELETE FROM measure WHERE day = 1;
DROP TABLE measure;
-- rows of a view
UPDATE dear SET name = 'x';
ALTER TABLE log ADD COLUMN n INT;
-- other sql_mode
SET SESSION sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES';
UPDATE pet SET notes = 'x';
ALTER TABLE pet ADD COLUMN n INT, DROP COLUMN tag;
-- foreign keys and the keys that were made with them
CREATE TABLE p (id INT PRIMARY KEY, u INT UNIQUE);
CREATE TABLE c (id INT PRIMARY KEY, a INT, b INT, p_id INT, q_id INT, UNIQUE KEY ua (a), KEY kb (b),
    CONSTRAINT fk FOREIGN KEY (p_id) REFERENCES p (id) ON DELETE CASCADE, KEY kab (a, b),
    CONSTRAINT fq FOREIGN KEY (q_id) REFERENCES p (u), KEY kba (b, a));
INSERT INTO p VALUES (1, 1), (2, 2);
INSERT INTO c VALUES (1, 1, 1, 1, 1), (2, NULL, 2, 2, 2);
=>
ALTER TABLE c DROP FOREIGN KEY fk;
UPDATE c SET b = 3;
ALTER TABLE c DROP FOREIGN KEY fq, ADD KEY k (q_id, b);
ALTER TABLE c DROP KEY kb;
-- letters that the script's character set has not, and others
CREATE TABLE `zoé` (id INT PRIMARY KEY, `größe` INT, s VARCHAR(9) DEFAULT 'ł') DEFAULT CHARSET=utf8mb4;
INSERT INTO `zoé` VALUES (1, 2, 'ż');
CREATE TABLE a (id INT PRIMARY KEY, `größe` INT, v INT, w INT, s VARCHAR(9) DEFAULT 'é') DEFAULT CHARSET=utf8mb4;
INSERT INTO a VALUES (1, 2, 3, 4, 'ż');
CREATE TRIGGER t BEFORE DELETE ON a FOR EACH ROW UPDATE `zoé` SET s = 'ü';
CREATE VIEW s AS SELECT `größe`, 'é' FROM a;
=>
SET NAMES latin1 COLLATE latin1_german1_ci;
ALTER TABLE a DROP COLUMN v;
DELETE FROM a;
SET CHARACTER SET latin1, character_set_results = NULL;
ALTER TABLE a DROP COLUMN s;
SET NAMES utf8mb4;
-- MySQL: keys that the server adds
CREATE TABLE a (v VARCHAR(9), w INT);
INSERT INTO a VALUES ('x', 1), ('x', 1), ('X', 2);
SET SESSION sql_generate_invisible_primary_key = 1;
CREATE TABLE b (v VARCHAR(9), w INT);
INSERT INTO b VALUES ('x', 1), ('x', 1), ('X', 2);
SET SESSION sql_generate_invisible_primary_key = 0;
=>
SET SESSION sql_generate_invisible_primary_key = 1;
ALTER TABLE b DROP w;
UPDATE b SET v = 'z';
ALTER TABLE b DROP PRIMARY KEY, DROP my_row_id, ADD id INT AUTO_INCREMENT PRIMARY KEY FIRST;
ALTER TABLE a MODIFY v CHAR(1);
DROP TABLE a;
CREATE TABLE a (n INT);
INSERT INTO a VALUES (1);
SET SESSION sql_generate_invisible_primary_key = 0;
-- order of triggers of another definer
CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT);
INSERT INTO a VALUES (1, 10, 20);
CREATE TRIGGER t0 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2;
CREATE DEFINER=someone@localhost TRIGGER t1 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 3 + 1;
CREATE TRIGGER `for each row` BEFORE INSERT ON a FOR EACH ROW FOLLOWS t0 SET NEW.v = NEW.v + 5;
=>
UPDATE a SET v = 5;
ALTER TABLE a DROP COLUMN w;
-- MariaDB: rows that IGNORE takes
CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT);
INSERT INTO a VALUES (1, 10, 20), (2, 10, 30);
=>
ALTER IGNORE TABLE a ADD UNIQUE KEY u (v);
UPDATE a SET w = 5;
CREATE TABLE b (n INT);
-- settings that limit statements
CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT);
INSERT INTO a VALUES (1, 10, 20), (2, 30, 40), (3, 50, 60);
=>
SET SESSION sql_select_limit = 1, sql_safe_updates = 1;
UPDATE a SET w = w + 1 WHERE id > 0;
ALTER TABLE a DROP COLUMN v;
DROP TABLE a;
SET SESSION sql_select_limit = DEFAULT, sql_safe_updates = 0;
-- MySQL: no table without a primary key
CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT);
INSERT INTO a VALUES (1, 1, 20), (2, 3, 40);
=>
SET SESSION sql_require_primary_key = 1;
ALTER TABLE a DROP COLUMN w;
ALTER TABLE a MODIFY v CHAR(1);
ALTER TABLE a MODIFY id VARCHAR(9);
UPDATE a SET v = 1;
DROP TABLE a;
