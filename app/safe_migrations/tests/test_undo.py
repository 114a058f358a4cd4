"""MySQL and MariaDB: what a revision changed before it failed or was killed is put back, in the server's own words."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import flask_migrate
import pytest
from sqlalchemy import create_engine, inspect

from ..adapters.mysql.undo import undo
from .example.app.extensions import db
from .support import FIRST, copied, is_mariadb, make_app, mysql_user, revision, run_on_server, server_url, told_by

pytestmark = pytest.mark.parametrize("backend", ["mysql"], indirect=True)

UNDONE = (
    "An earlier run failed, was killed or lost its connection. Its unfinished revision was undone;"
    " restored to their state before it: "
)
STOP = "raise RuntimeError('stop')"
KILL = "import os\nos.kill(os.getpid(), 9)"

SCHEMA = r"""
    CREATE TABLE owner (id INT PRIMARY KEY, code VARCHAR(9) UNIQUE, name VARCHAR(80));
    CREATE TABLE pet (
        id INT PRIMARY KEY AUTO_INCREMENT,
        name VARCHAR(80) CHARACTER SET latin1 DEFAULT 'x, y' COMMENT 'it''s a, name (\n',
        kind ENUM('cat', 'dog, or') NOT NULL DEFAULT 'cat',
        price DECIMAL(10, 4),
        tag VARCHAR(20),
        born TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
        label VARCHAR(99) AS (CONCAT(name, ', ')) STORED,
        short VARCHAR(99) AS (LEFT(name, 2)) VIRTUAL,
        owner_id INT,
        notes TEXT,
        CONSTRAINT ck_price CHECK (price > 0),
        UNIQUE KEY uq_tag (tag), KEY ix_name (name), KEY ix_notes (notes(10)), FULLTEXT KEY ft (notes),
        CONSTRAINT fk_owner FOREIGN KEY (owner_id) REFERENCES owner (id) ON DELETE CASCADE
    ) COMMENT='all, pets';
    CREATE TABLE log (what VARCHAR(9));
    CREATE TABLE measure (id INT, day INT, n INT, PRIMARY KEY (id, day)) PARTITION BY HASH (day) PARTITIONS 2;
    CREATE TABLE `100% "odd"` (id INT PRIMARY KEY, `%s` INT, `x"y` INT, `it's` INT);
    CREATE TABLE `order` (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, parent INT UNSIGNED,
        CONSTRAINT fk_self FOREIGN KEY (parent) REFERENCES `order` (id));
    CREATE TABLE item (id INT PRIMARY KEY, order_id INT UNSIGNED,
        CONSTRAINT fk_order FOREIGN KEY (order_id) REFERENCES `order` (id));
    CREATE TABLE audit (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(99));
    CREATE TRIGGER note AFTER UPDATE ON owner FOR EACH ROW INSERT INTO audit (what) VALUES (NEW.name);
    CREATE TABLE toy (id INT PRIMARY KEY, made DATETIME(6), price DECIMAL(10, 4), parent INT,
        CONSTRAINT fk_toy FOREIGN KEY (parent) REFERENCES toy (id) ON DELETE SET NULL);
    CREATE TABLE box (id INT PRIMARY KEY, toy INT,
        CONSTRAINT fk_box FOREIGN KEY (toy) REFERENCES toy (id) ON DELETE SET NULL ON UPDATE CASCADE);
    CREATE TABLE gift (id INT PRIMARY KEY, code VARCHAR(9), name VARCHAR(80), n INT);
    CREATE TABLE word (a VARCHAR(9));
    INSERT INTO `100% "odd"` VALUES (1, 2, 3, 4);
    INSERT INTO `order` VALUES (1, NULL), (2, 1);
    INSERT INTO item VALUES (1, 2);
    INSERT INTO toy VALUES (1, '2001-02-03 04:05:06.999999', 1.2345, NULL);
    INSERT INTO box VALUES (1, 1), (2, 1);
    INSERT INTO gift VALUES (1, 'a', 'ball', 7), (2, NULL, 'bone', 8);
    INSERT INTO word VALUES ('one'), ('one');
    CREATE TRIGGER dear_toy BEFORE UPDATE ON toy FOR EACH ROW SET NEW.price = NEW.price + 1;
    CREATE VIEW dear AS SELECT name FROM pet WHERE price > 100;
    CREATE VIEW dearest AS SELECT name FROM dear;
    CREATE TRIGGER tidy BEFORE INSERT ON pet FOR EACH ROW SET NEW.tag = LOWER(NEW.tag);
    CREATE PROCEDURE count_pets() SELECT COUNT(*) FROM pet;
    CREATE FUNCTION give_one() RETURNS INT DETERMINISTIC RETURN 1;
    INSERT INTO owner VALUES (1, 'a', 'Ann'), (2, 'b', 'Bo');
    INSERT INTO pet (id, name, kind, price, tag, born, owner_id, notes) VALUES
        (1, 'Rex', 'dog, or', 1.2345, 'r', '2001-02-03 04:05:06', 1, 'good'),
        (2, 'Tom', 'cat', NULL, NULL, '2002-02-03 04:05:06', NULL, NULL),
        (5, 'tom', 'cat', 9999.9999, '007', '2003-02-03 04:05:06', 2, '%s %% {x}');
    CREATE TABLE coded (id VARCHAR(9) PRIMARY KEY, v INT);
    INSERT INTO coded VALUES ('01', 1), ('02', 2), ('003', 3);
    INSERT INTO log VALUES ('begin');
    INSERT INTO measure VALUES (1, 1, 10), (1, 2, 20)"""

# A case is changes of SCHEMA; or tables of its own, an arrow, and changes of these. One whose name begins with a
# product is for that one only.

A = "CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT); INSERT INTO a VALUES (1, 10, 20)"


def split(statements: str) -> list[str]:
    """Return the statements between the semicolons."""
    return [" ".join(statement.split()) for statement in statements.split(";") if statement.strip()]


def dropped(column: str, *values: str, drop: str = "DROP COLUMN a") -> str:
    """Return the case of a table with this column ``a`` and what depends on it, and its drop: NOT NULL, it is not valid
    before its values are back.
    """
    one, two = values or ("1", "2")
    return f"""
        CREATE TABLE t (id INT PRIMARY KEY, {column}, last INT NOT NULL);
        INSERT IGNORE INTO user (id, username, email) VALUES (1, 'a', 'a'), (2, 'b', 'b');
        INSERT INTO t (id, a, last) VALUES (1, {one}, 5), (2, {two}, 6)
     => ALTER TABLE t {drop}"""


GIFT_CHANGES = split("""
    ALTER TABLE gift ADD COLUMN a INT FIRST; CREATE INDEX ix_a ON gift (a, code);
    CREATE TABLE fresh (id INT PRIMARY KEY, gift_id INT); ALTER TABLE gift CHANGE code mark VARCHAR(9);
    ALTER TABLE gift ADD COLUMN fresh_id INT AFTER mark;
    ALTER TABLE gift ADD CONSTRAINT fk_fresh FOREIGN KEY (fresh_id) REFERENCES fresh (id);
    ALTER TABLE fresh ADD COLUMN mark INT, ADD INDEX ix_mark (mark); INSERT INTO fresh VALUES (1, 1, 2);
    ALTER TABLE fresh ADD CONSTRAINT fk_gift FOREIGN KEY (gift_id) REFERENCES gift (id); DROP INDEX ix_a ON gift;
    ALTER TABLE gift DROP COLUMN name; ALTER TABLE gift ADD COLUMN name INT, ADD INDEX ix_name (name), COMMENT = 'mine';
    ALTER TABLE fresh RENAME TO newer; ALTER TABLE newer ADD COLUMN b INT; CREATE INDEX ix_b ON newer (b);
    ALTER TABLE gift ADD INDEX ix_mark (mark)""")

RESTORED = {
    "fractions of seconds": "ALTER TABLE toy MODIFY made DATETIME; ALTER TABLE toy MODIFY price NUMERIC",
    "names in another case": "ALTER TABLE gift DROP COLUMN NAME; ALTER TABLE toy RENAME COLUMN Price TO cost",
    "columns that swap names": "ALTER TABLE gift RENAME COLUMN code TO name, RENAME COLUMN name TO code",
    "columns with a key that pass on their names": """
        ALTER TABLE gift ADD FULLTEXT KEY ft (name);
        ALTER TABLE gift RENAME COLUMN code TO old, RENAME COLUMN name TO code""",
    "views of views": "DROP VIEW dearest; DROP VIEW dear; CREATE VIEW dear AS SELECT 1 AS one",
    "view in the server's words": """
        CREATE OR REPLACE ALGORITHM=UNDEFINED DEFINER=CURRENT_USER SQL SECURITY DEFINER VIEW dear AS SELECT 2 AS two""",
    "new table": "CREATE TABLE new (id INT PRIMARY KEY, pet_id INT REFERENCES pet (id)); INSERT INTO new VALUES (1, 1)",
    "new table from rows": "CREATE TABLE copy AS SELECT * FROM pet",
    "dropped table": "DROP TABLE pet",
    "dropped parent": "SET foreign_key_checks = 0; DROP TABLE owner; SET foreign_key_checks = 1",
    "dropped and made anew": "DROP TABLE measure; CREATE TABLE measure (n INT); INSERT INTO measure VALUES (1)",
    "truncated table": "TRUNCATE TABLE measure; INSERT INTO measure VALUES (1, 1, 99)",
    "renamed table": "RENAME TABLE pet TO animal, log TO diary; ALTER TABLE animal DROP COLUMN notes",
    "renamed by alter": "ALTER TABLE pet ADD COLUMN age INT, RENAME TO animal",
    "swapped tables": "RENAME TABLE log TO tmp; RENAME TABLE owner TO log; RENAME TABLE tmp TO owner",
    "new column": "ALTER TABLE pet ADD COLUMN age INT NOT NULL DEFAULT 3 AFTER id, ADD KEY ix_age (age)",
    "dropped columns": "ALTER TABLE pet DROP COLUMN price, DROP CONSTRAINT ck_price; ALTER TABLE pet DROP notes",
    "dropped generated columns": "ALTER TABLE pet DROP COLUMN label, DROP COLUMN short",
    "dropped key columns": "ALTER TABLE pet DROP COLUMN tag; ALTER TABLE pet DROP KEY ix_name",
    "dropped primary key": "ALTER TABLE pet MODIFY id INT NOT NULL, DROP PRIMARY KEY",
    "dropped foreign key": "ALTER TABLE pet DROP FOREIGN KEY fk_owner; ALTER TABLE pet DROP COLUMN owner_id",
    "changed foreign key": """
        ALTER TABLE pet DROP FOREIGN KEY fk_owner;
        ALTER TABLE pet ADD CONSTRAINT fk_owner FOREIGN KEY (owner_id) REFERENCES owner (id) ON DELETE SET NULL""",
    "renamed column": "ALTER TABLE pet CHANGE price cost DECIMAL(10, 4), DROP CONSTRAINT ck_price",
    "renamed and moved": "ALTER TABLE pet RENAME COLUMN notes TO remarks; ALTER TABLE pet MODIFY remarks TEXT FIRST",
    "renamed key column of a parent": "ALTER TABLE owner CHANGE id number INT NOT NULL",
    "lost default and comment": "ALTER TABLE pet MODIFY name VARCHAR(200); ALTER TABLE pet ALTER kind DROP DEFAULT",
    "cast": "ALTER TABLE pet DROP CONSTRAINT ck_price, MODIFY price DECIMAL(9, 1)",
    "cast and renamed": "ALTER TABLE pet CHANGE born day DATE",
    "longer enum": "ALTER TABLE pet MODIFY kind ENUM('bird', 'cat', 'dog, or') NOT NULL",
    "changed generated column": "ALTER TABLE pet DROP COLUMN label, ADD COLUMN label VARCHAR(9) AS ('x') STORED FIRST",
    "table options": "ALTER TABLE pet COMMENT='', AUTO_INCREMENT=100; ALTER TABLE log COMMENT='new'",
    "charset": "ALTER TABLE owner CONVERT TO CHARACTER SET latin1",
    "partitions": "ALTER TABLE measure REMOVE PARTITIONING",
    "more partitions": "ALTER TABLE measure PARTITION BY HASH (id) PARTITIONS 4",
    "dropped index": "DROP INDEX ix_name ON pet; CREATE INDEX ix_price ON pet (price)",
    "views": "DROP VIEW dear; CREATE VIEW cheap AS SELECT 1 AS one",
    "changed view": "CREATE OR REPLACE VIEW dear AS SELECT price FROM pet",
    "trigger": "DROP TRIGGER tidy; CREATE TRIGGER loud BEFORE INSERT ON pet FOR EACH ROW SET NEW.tag = UPPER(NEW.tag)",
    "routines": "DROP PROCEDURE count_pets; DROP FUNCTION give_one; CREATE PROCEDURE p() SELECT 1",
    "percent and quotes": """
        ALTER TABLE `100% "odd"` CHANGE `%s` pct INT, DROP COLUMN `it's`; ALTER TABLE `100% "odd"` DROP COLUMN `x"y`""",
    "view of a renamed column": """
        ALTER TABLE pet DROP CONSTRAINT ck_price, CHANGE price cost DECIMAL(10, 4);
        CREATE OR REPLACE VIEW dear AS SELECT name FROM pet WHERE cost > 100""",
    "view of a renamed table": "RENAME TABLE pet TO animal; CREATE OR REPLACE VIEW dear AS SELECT name FROM animal",
    "renamed parent, changed child": "RENAME TABLE owner TO owners; ALTER TABLE pet DROP COLUMN notes",
    "wider keys": """
        ALTER TABLE `order` DROP FOREIGN KEY fk_self; ALTER TABLE item DROP FOREIGN KEY fk_order;
        ALTER TABLE `order` MODIFY id BIGINT NOT NULL AUTO_INCREMENT; ALTER TABLE `order` MODIFY parent BIGINT;
        ALTER TABLE item MODIFY order_id BIGINT;
        ALTER TABLE `order` ADD CONSTRAINT fk_self FOREIGN KEY (parent) REFERENCES `order` (id);
        ALTER TABLE item ADD CONSTRAINT fk_order FOREIGN KEY (order_id) REFERENCES `order` (id)""",
    "row format": "ALTER TABLE log ROW_FORMAT=COMPACT, COMMENT='x'",
    "from column to column": """
        ALTER TABLE gift ADD COLUMN called VARCHAR(99); UPDATE gift SET called = name;
        ALTER TABLE gift DROP COLUMN name; ALTER TABLE gift CHANGE called name VARCHAR(99)""",
    "column dropped, cast, and then its table dropped": """
        CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL UNIQUE, b DECIMAL(9, 3), c INT);
        INSERT INTO t VALUES (1, 1, 1.234, 5), (2, 2, 2.345, 6)
     => ALTER TABLE t DROP COLUMN a; ALTER TABLE t MODIFY b INT; DROP TABLE t; CREATE TABLE t (n INT)""",
    "column dropped, and its name used again": """
        CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL UNIQUE, b VARCHAR(9));
        INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y')
     => ALTER TABLE t DROP COLUMN a, CHANGE b a VARCHAR(3); ALTER TABLE t ADD b DATE; ALTER TABLE t DROP b""",
    "key renamed, and values cast": """
        CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, b DECIMAL(9, 3)); INSERT INTO t (b) VALUES (1.2)
     => ALTER TABLE t CHANGE id number BIGINT AUTO_INCREMENT; ALTER TABLE t CHANGE b id INT;
        ALTER TABLE t ADD c INT, DROP id""",
    "defaults with a decimal point": f"""
        {A}
     => ALTER TABLE a MODIFY v NUMERIC(10, 2) DEFAULT 9.99; ALTER TABLE a ADD r DOUBLE DEFAULT 1.5, DROP COLUMN w;
        ALTER TABLE a ADD s DOUBLE DEFAULT .5, DROP COLUMN v; CREATE TABLE copy AS SELECT a.id FROM a""",
    "checks before others": """
        CREATE TABLE a (id INT PRIMARY KEY, v INT, CONSTRAINT c1 CHECK (v > 1), CONSTRAINT c2 CHECK (v > 2),
            CONSTRAINT c3 CHECK (v > 3))
     => ALTER TABLE a DROP CONSTRAINT c2; ALTER TABLE a DROP CONSTRAINT c1""",
    "both sides of a foreign key renamed": """
        CREATE TABLE p (Id INT PRIMARY KEY);
        CREATE TABLE c (id INT PRIMARY KEY, p_id INT, CONSTRAINT fk FOREIGN KEY (p_id) REFERENCES p (Id))
     => ALTER TABLE p RENAME COLUMN id TO pid; ALTER TABLE c RENAME COLUMN p_id TO parent_id; RENAME TABLE p TO q;
        ALTER TABLE c ADD n INT""",
    "views on views on views": """
        CREATE TABLE p (id INT PRIMARY KEY); CREATE TABLE c (id INT PRIMARY KEY);
        CREATE VIEW v1 AS SELECT p.id, c.id AS c_id FROM p JOIN c ON c.id = p.id;
        CREATE VIEW v2 AS SELECT id FROM v1; CREATE VIEW v3 AS SELECT v2.id FROM v2 JOIN p ON p.id = v2.id
     => DROP TABLE c; DROP TABLE p""",
    "quotes in names": """
        CREATE TABLE p (`a`` b` INT PRIMARY KEY, `a``` INT, b INT DEFAULT 1, KEY `k``` (b));
        INSERT INTO p VALUES (1, 2, 3);
        CREATE TABLE c (id INT PRIMARY KEY, CONSTRAINT `f``` FOREIGN KEY (id) REFERENCES p (`a`` b`))
     => ALTER TABLE p CHANGE `a`` b` ```c` INT, DROP KEY `k```;
        ALTER TABLE p RENAME COLUMN `a``` TO `b```, RENAME COLUMN b TO `a```; ALTER TABLE c DROP FOREIGN KEY `f```""",
    "DROP TABLES": f"{A}; CREATE TABLE b (n INT) => DROP TABLES b, a",
    "MariaDB: statements in comments": f"""
        {A}; INSERT INTO a VALUES (2, 30, 40)
     => ALTER TABLE a DROP COLUMN v; ALTER TABLE a /*M!100100 DROP COLUMN w */; /*M! DROP TABLE a */""",
    "character sets and time zone of sessions": f"""
        {A}; SET NAMES latin1 COLLATE latin1_german1_ci, time_zone = '+09:00';
        CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DISABLE DO DELETE FROM user;
        CREATE VIEW s AS SELECT v, 'x' AS x FROM a;
        CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.v = 'x' < 'X';
        CREATE PROCEDURE p() SELECT 'x' < 'X'; SET NAMES utf8mb4, time_zone = DEFAULT
     => DROP EVENT e; DROP VIEW s; DROP TRIGGER t; DROP PROCEDURE p""",
    "renamed event": """
        CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DISABLE DO DELETE FROM user
     => ALTER EVENT e RENAME TO f; ALTER EVENT f ON SCHEDULE EVERY 2 YEAR STARTS '2037-01-01'""",
    "order of triggers": f"""
        {A}; CREATE TRIGGER t0 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2;
        CREATE TRIGGER t1 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2 + 1;
        CREATE TRIGGER t2 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2 + 2;
        CREATE TRIGGER t3 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2 + 3
     => DROP TRIGGER t3; DROP TRIGGER t1; CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.w = 1""",
    "backslash that escapes nothing": r"""
        CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(20), v INT); INSERT INTO a VALUES (1, 'C:\\', 10)
     => SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES';
        ALTER TABLE a MODIFY s VARCHAR(20) DEFAULT 'C:\', DROP COLUMN v, ADD w INT DEFAULT '5'""",
    "columns renamed and cast": """
        CREATE TABLE a (id INT PRIMARY KEY, d DATETIME, v INT, UNIQUE KEY k (v)); INSERT INTO a VALUES (1, NOW(), 5)
     => ALTER TABLE a DROP KEY k, CHANGE d n DATE, CHANGE v d CHAR(9); UPDATE a SET d = 7""",
    "dropped partition": """
        CREATE TABLE a (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id)
            (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20));
        INSERT INTO a VALUES (1, 1), (2, 2), (11, 11)
     => ALTER TABLE a TRUNCATE PARTITION p1; ALTER TABLE a DROP PARTITION p0""",
    "column that becomes a generated one": f"{A} => ALTER TABLE a MODIFY v INT GENERATED ALWAYS AS (w * 2) STORED",
    "many changes of a table, among them of types, in a loose sql_mode": """
        SET SESSION sql_mode = ''; ALTER TABLE pet ADD slug VARCHAR(80); CREATE INDEX ix_slug ON pet (slug);
        ALTER TABLE pet ADD views INT NOT NULL DEFAULT 0; ALTER TABLE pet DROP CONSTRAINT ck_price;
        ALTER TABLE pet MODIFY price VARCHAR(3); ALTER TABLE pet CHANGE notes remarks VARCHAR(9);
        CREATE TABLE tag (id INT PRIMARY KEY); CREATE INDEX ix_remarks ON pet (remarks)""",
    "another character set in a loose sql_mode": """
        CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(9)) DEFAULT CHARSET=utf8mb4;
        INSERT INTO a VALUES (1, _utf8mb4 X'C5BC')
     => SET SESSION sql_mode = ''; ALTER TABLE a MODIFY s VARCHAR(9) CHARACTER SET latin1""",
    "values of ENUM in a loose sql_mode": """
        CREATE TABLE a (id INT PRIMARY KEY, s ENUM('x', 'y')); INSERT INTO a VALUES (1, 'y')
     => SET SESSION sql_mode = ''; ALTER TABLE a MODIFY s ENUM('x')""",
    "column unique": dropped("a VARCHAR(80) NOT NULL, UNIQUE KEY uq (a)"),
    "column unique, with a default and a comment": dropped(
        "a VARCHAR(80) NOT NULL DEFAULT ' NOT NULL' COMMENT 'is '' NOT NULL', UNIQUE KEY uq (a)"
    ),
    "column unique together": dropped(
        "a INT NOT NULL, b INT NOT NULL DEFAULT 1, UNIQUE KEY uq (b, a)", drop="DROP COLUMN a, DROP KEY uq"
    ),
    "column with a CHECK of the table": dropped(
        "a INT NOT NULL, CONSTRAINT ck CHECK (a > 0)", drop="DROP CONSTRAINT ck, DROP COLUMN a"
    ),
    "column with a CHECK of its own": dropped("a INT NOT NULL CHECK (a > 0), KEY ix (a)"),
    "column that counts": dropped("a INT NOT NULL AUTO_INCREMENT, UNIQUE KEY uq (a)"),
    "column that refers": dropped(
        "a INT NOT NULL, CONSTRAINT fk FOREIGN KEY (a) REFERENCES user (id)", drop="DROP FOREIGN KEY fk, DROP COLUMN a"
    ),
    "column of a place": dropped("a POINT NOT NULL, SPATIAL KEY sp (a)", "POINT(1, 2)", "POINT(3, 4)"),
    "column of a time": dropped(
        "a TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, UNIQUE KEY uq (a)",
        "'2001-02-03 04:05:06'",
        "'2002-02-03 04:05:06'",
    ),
    "column of a fixed set": dropped("a ENUM('x', 'y') NOT NULL, UNIQUE KEY uq (a)", "'x'", "'y'"),
    "column of JSON": dropped("a JSON NOT NULL", "'[1]'", "'[2]'"),
    "column with a generated one": dropped(
        "a INT NOT NULL, g INT AS (100 / a) STORED, UNIQUE KEY uq (g)", drop="DROP COLUMN g, DROP COLUMN a"
    ),
    "MySQL: column with a key of an expression": dropped(
        "a INT NOT NULL, UNIQUE KEY uq ((a + 1))", drop="DROP KEY uq, DROP a"
    ),
    **{
        f"text of {collation}": f"""
        CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(20), e ENUM('a b', 'COLLATE c') NOT NULL,
            l VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german2_ci, n VARCHAR(9) COLLATE {other})
            DEFAULT CHARSET={collation.partition("_")[0]} COLLATE={collation};
        INSERT INTO a VALUES (1, 'x', 'a b', 'y', 'z')
     => ALTER TABLE a DROP COLUMN s, DROP n; ALTER TABLE a MODIFY e VARCHAR(3), DROP l"""
        for collation, other in (
            ("utf8mb4_unicode_ci", "utf8mb4_bin"),
            ("utf8mb4_general_ci", "utf8mb4_unicode_ci"),
            ("latin1_german1_ci", "latin1_bin"),
        )
    },
    "text of a table with another character set": """
        CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(20)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
        INSERT INTO a VALUES (1, 'x')
     => ALTER TABLE a CONVERT TO CHARACTER SET latin1; ALTER TABLE a MODIFY s TEXT""",
    **{
        f"table option {option}": f"{A} => ALTER TABLE a {option}"
        for option in split(
            "STATS_PERSISTENT=1; STATS_AUTO_RECALC=1; STATS_SAMPLE_PAGES=9; MAX_ROWS=9; MIN_ROWS=9; AVG_ROW_LENGTH=9;"
            "CHECKSUM=1; DELAY_KEY_WRITE=1; PACK_KEYS=1"
        )
    },
    **{
        f"the first {last} of several statements on a table": ";".join(GIFT_CHANGES[:last])
        for last in range(1, len(GIFT_CHANGES) + 1)
    },
}
"""Cases in which all texts and rows are restored."""

SAVED = {
    "another character set without a key": "ALTER TABLE word CONVERT TO CHARACTER SET latin1",
    "column of the primary key": """
        CREATE TABLE t (a INT, b INT, c INT NOT NULL UNIQUE, PRIMARY KEY (a, b));
        INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)
     => ALTER TABLE t DROP PRIMARY KEY, DROP COLUMN b, ADD PRIMARY KEY (a)""",
    "table that is swapped for a new one like it": f"""
        {A}; CREATE VIEW s AS SELECT v FROM a
     => CREATE TABLE a_new LIKE a; INSERT INTO a_new SELECT id, v * 2, w FROM a;
        RENAME TABLE a TO a_tmp, a_new TO a, a_tmp TO a_new; DROP TABLE a_new""",
    "whole rows of a table with foreign keys and triggers": """
        CREATE TABLE p (id VARCHAR(9) PRIMARY KEY, n INT);
        CREATE TABLE c (id INT PRIMARY KEY, n INT, FOREIGN KEY (n) REFERENCES c (id) ON DELETE CASCADE);
        CREATE TABLE l (n INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(9));
        CREATE TRIGGER d AFTER DELETE ON p FOR EACH ROW INSERT INTO l (what) VALUES (OLD.id);
        INSERT INTO p VALUES ('01', 1), ('2 ', 2); INSERT INTO c VALUES (1, NULL), (2, 1)
     => ALTER TABLE p MODIFY id DECIMAL(9, 1); ALTER TABLE c CONVERT TO CHARACTER SET latin1; DELETE FROM c""",
    "primary key of two columns cast": """
        CREATE TABLE a (x VARCHAR(9), y INT, v INT, PRIMARY KEY (x, y));
        INSERT INTO a VALUES ('01', 1, 10), ('1', 2, 20)
     => ALTER TABLE a MODIFY x INT, MODIFY v VARCHAR(9); ALTER TABLE a DROP v, DROP x, DROP PRIMARY KEY""",
    "zero in a key that becomes AUTO_INCREMENT": """
        CREATE TABLE a (id INT PRIMARY KEY, v INT); INSERT INTO a VALUES (0, 10), (7, 8)
     => ALTER TABLE a MODIFY id INT AUTO_INCREMENT""",
    "table without a key": """
        CREATE TABLE a (v VARCHAR(9), w INT); INSERT INTO a VALUES ('x', 1), ('x', 1), ('X', 2)
     => ALTER TABLE a DROP w, MODIFY v CHAR(1), ADD id INT AUTO_INCREMENT PRIMARY KEY""",
    "key with a part of a text": """
        CREATE TABLE a (s TEXT, v INT, PRIMARY KEY (s(10))); INSERT INTO a VALUES ('x', 1), ('y', 2)
     => ALTER TABLE a DROP v""",
    "renamed by what casts": """
        CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT); INSERT INTO a VALUES (1, 1, 20)
     => ALTER TABLE a MODIFY v CHAR(1), RENAME TO b; ALTER TABLE b MODIFY id VARCHAR(9), RENAME TO c""",
    **{
        f"primary key cast from {before} to {after}": f"""
        CREATE TABLE a (id {before} PRIMARY KEY, s VARCHAR(9)); INSERT INTO a VALUES ({value}, 'x')
     => ALTER TABLE a MODIFY id {after}; UPDATE a SET s = 'y'"""
        for before, after, value in (
            ("DECIMAL(10, 2)", "INT", "1.25"),
            ("DATETIME(6)", "DATETIME", "'2001-02-03 04:05:06.123456'"),
            ("VARCHAR(9)", "INT", "'007'"),
            ("BIGINT UNSIGNED", "DECIMAL(20)", "18446744073709551615"),
        )
    },
}
"""Cases restored too, but the app may have written rows that no key finds, or that are in a new table of an old
name: these are saved in a table that is named."""

TIMES_OF_MARIADB = {
    "NULL where there may be none": """
        CREATE TABLE a (id INT PRIMARY KEY, v INT, at TIMESTAMP NULL); INSERT INTO a VALUES (1, NULL, NULL)
     => SET SESSION sql_mode = ''; ALTER TABLE a MODIFY v INT NOT NULL, MODIFY at TIMESTAMP NOT NULL""",
    "MariaDB: NULL that becomes now": """
        CREATE TABLE a (id INT PRIMARY KEY, at TIMESTAMP NULL); INSERT INTO a VALUES (1, NULL)
     => ALTER TABLE a MODIFY at TIMESTAMP NOT NULL""",
}
"""Cases in which MariaDB stored the time when it cast a column: the rows are saved unless that is the same second."""

ROWS_FIRST = {
    "children deleted by a foreign key": "DELETE FROM owner WHERE id = 1; CREATE TABLE t (a INT)",
    "children set by a foreign key": "UPDATE toy SET id = 3; DELETE FROM toy WHERE id = 3; CREATE TABLE t (a INT)",
    "column renamed and cast, then written": """
        ALTER TABLE gift CHANGE n called CHAR(3); UPDATE gift SET called = 'x'; CREATE TABLE t (a INT)""",
    "columns that pass on their names": """
        ALTER TABLE gift RENAME COLUMN code TO old, RENAME COLUMN name TO code; UPDATE gift SET old = NULL;
        CREATE TABLE t (a INT)""",
    "tables that swap names": """
        RENAME TABLE log TO x; RENAME TABLE audit TO log; RENAME TABLE x TO audit;
        INSERT INTO log (what) VALUES ('new'); CREATE TABLE t (a INT)""",
    "trigger of a renamed table": """
        RENAME TABLE owner TO person; UPDATE person SET code = 'z' WHERE id = 1; CREATE TABLE t (a INT)""",
    "WHERE in a subquery": """
        ALTER TABLE owner ADD n INT; UPDATE owner SET n = (SELECT MAX(id) FROM item WHERE id > 0), name = 'x';
        CREATE TABLE t (a INT)""",
    "trigger that sets a column": "ALTER TABLE toy ADD n INT; UPDATE toy SET n = 1; CREATE TABLE t (a INT)",
    "rows": """
        UPDATE pet SET name = 'REX', notes = NULL WHERE id = 1; UPDATE pet SET tag = UPPER(tag);
        DELETE FROM pet WHERE id = 2; INSERT INTO pet (name, tag) VALUES ('Kim', 'k');
        ALTER TABLE log ADD COLUMN id INT""",
    "rows of a key": "UPDATE measure SET day = 9 WHERE day = 2; CREATE TABLE new (id INT)",
    "rows and their column": "UPDATE pet SET notes = CONCAT('x', notes); ALTER TABLE pet DROP COLUMN notes",
    "rows and their table": "DELETE FROM measure WHERE day = 1; DROP TABLE measure",
    "percent, rows and name": 'UPDATE `100% "odd"` SET `%s` = 7; RENAME TABLE `100% "odd"` TO `even%`',
    "rows of a trigger": "UPDATE owner SET name = 'x'; ALTER TABLE owner ADD COLUMN n INT",
    "new trigger and its rows": """
        CREATE TRIGGER t2 AFTER INSERT ON item FOR EACH ROW INSERT INTO audit (what) VALUES ('item');
        INSERT INTO item VALUES (5, 1); CREATE TABLE new (id INT)""",
    "rows of a view": "UPDATE dear SET name = 'x'; ALTER TABLE log ADD COLUMN n INT",
    "renamed parent, dropped child": """
        RENAME TABLE owner TO owners; ALTER TABLE pet DROP FOREIGN KEY fk_owner;
        UPDATE pet SET tag = 'x1' WHERE id = 1; DROP TABLE pet""",
    "swapped unique values": """
        UPDATE pet SET tag = 'q' WHERE id = 1; UPDATE pet SET tag = 'r' WHERE id = 5;
        UPDATE pet SET tag = '007' WHERE id = 1; ALTER TABLE pet ADD COLUMN n INT""",
    "other sql_mode": """
        SET SESSION sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'; UPDATE pet SET notes = 'x';
        ALTER TABLE pet ADD COLUMN n INT, DROP COLUMN tag""",
    "tables that swap names in one statement": f"""
        {A}; CREATE TABLE b (id INT PRIMARY KEY, x INT)
     => RENAME TABLE a TO t, b TO a, t TO b; UPDATE b SET v = 11; CREATE TABLE c (n INT)""",
    "foreign keys and the keys that were made with them": """
        CREATE TABLE p (id INT PRIMARY KEY, u INT UNIQUE);
        CREATE TABLE c (id INT PRIMARY KEY, a INT, b INT, p_id INT, q_id INT, UNIQUE KEY ua (a), KEY kb (b),
            CONSTRAINT fk FOREIGN KEY (p_id) REFERENCES p (id) ON DELETE CASCADE, KEY kab (a, b),
            CONSTRAINT fq FOREIGN KEY (q_id) REFERENCES p (u), KEY kba (b, a));
        INSERT INTO p VALUES (1, 1), (2, 2); INSERT INTO c VALUES (1, 1, 1, 1, 1), (2, NULL, 2, 2, 2)
     => ALTER TABLE c DROP FOREIGN KEY fk; UPDATE c SET b = 3;
        ALTER TABLE c DROP FOREIGN KEY fq, ADD KEY k (q_id, b); ALTER TABLE c DROP KEY kb""",
    "letters that the script's character set has not, and others": """
        CREATE TABLE `zoé` (id INT PRIMARY KEY, `größe` INT, s VARCHAR(9) DEFAULT 'ł') DEFAULT CHARSET=utf8mb4;
        INSERT INTO `zoé` VALUES (1, 2, 'ż');
        CREATE TABLE a (id INT PRIMARY KEY, `größe` INT, v INT, w INT, s VARCHAR(9) DEFAULT 'é')
            DEFAULT CHARSET=utf8mb4; INSERT INTO a VALUES (1, 2, 3, 4, 'ż');
        CREATE TRIGGER t BEFORE DELETE ON a FOR EACH ROW UPDATE `zoé` SET s = 'ü';
        CREATE VIEW s AS SELECT `größe`, 'é' FROM a
     => SET NAMES latin1 COLLATE latin1_german1_ci; ALTER TABLE a DROP COLUMN v; DELETE FROM a;
        SET CHARACTER SET latin1, character_set_results = NULL; ALTER TABLE a DROP COLUMN s; SET NAMES utf8mb4""",
    "MySQL: keys that the server adds": """
        CREATE TABLE a (v VARCHAR(9), w INT); INSERT INTO a VALUES ('x', 1), ('x', 1), ('X', 2);
        SET SESSION sql_generate_invisible_primary_key = 1; CREATE TABLE b (v VARCHAR(9), w INT);
        INSERT INTO b VALUES ('x', 1), ('x', 1), ('X', 2); SET SESSION sql_generate_invisible_primary_key = 0
     => SET SESSION sql_generate_invisible_primary_key = 1; ALTER TABLE b DROP w; UPDATE b SET v = 'z';
        ALTER TABLE b DROP PRIMARY KEY, DROP my_row_id, ADD id INT AUTO_INCREMENT PRIMARY KEY FIRST;
        ALTER TABLE a MODIFY v CHAR(1); DROP TABLE a; CREATE TABLE a (n INT); INSERT INTO a VALUES (1);
        SET SESSION sql_generate_invisible_primary_key = 0""",
    "order of triggers of another definer": f"""
        {A}; CREATE TRIGGER t0 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2;
        CREATE DEFINER=someone@localhost TRIGGER t1 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 3 + 1;
        CREATE TRIGGER `for each row` BEFORE INSERT ON a FOR EACH ROW FOLLOWS t0 SET NEW.v = NEW.v + 5
     => UPDATE a SET v = 5; ALTER TABLE a DROP COLUMN w""",
    "MariaDB: rows that IGNORE takes": f"""
        {A}; INSERT INTO a VALUES (2, 10, 30)
     => ALTER IGNORE TABLE a ADD UNIQUE KEY u (v); UPDATE a SET w = 5; CREATE TABLE b (n INT)""",
    "settings that limit statements": f"""
        {A}; INSERT INTO a VALUES (2, 30, 40), (3, 50, 60)
     => SET SESSION sql_select_limit = 1, sql_safe_updates = 1; UPDATE a SET w = w + 1 WHERE id > 0;
        ALTER TABLE a DROP COLUMN v; DROP TABLE a; SET SESSION sql_select_limit = DEFAULT, sql_safe_updates = 0""",
    "MySQL: no table without a primary key": """
        CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT); INSERT INTO a VALUES (1, 1, 20), (2, 3, 40)
     => SET SESSION sql_require_primary_key = 1; ALTER TABLE a DROP COLUMN w; ALTER TABLE a MODIFY v CHAR(1);
        ALTER TABLE a MODIFY id VARCHAR(9); UPDATE a SET v = 1; DROP TABLE a""",
}
"""Cases that change existing rows before a DDL statement: `backfill-with-ddl` stops them."""

NOT_COVERED = {
    "temporary table that hides one": """
        CREATE TABLE seen (id INT PRIMARY KEY, v INT, w INT); INSERT INTO seen VALUES (1, 10, 20)
     => CREATE TABLE b (n INT); CREATE TEMPORARY TABLE seen (id INT, v INT); INSERT INTO seen VALUES (5, 5);
        UPDATE seen SET v = 6; ALTER TABLE b ADD m INT; ALTER TABLE seen DROP v; DROP TEMPORARY TABLE seen;
        UPDATE seen SET v = 7; CREATE TEMPORARY TABLE seen (id INT); DROP TABLE seen;
        CREATE TEMPORARY TABLE seen (id INT); ALTER TABLE b ADD x INT""",
    # Without autocommit MariaDB 10.11 waits for a lock of its own session.
    "exchanged partition": """
        CREATE TABLE a (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id)
            (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20));
        CREATE TABLE b (id INT PRIMARY KEY, v INT);
        INSERT INTO a VALUES (1, 1), (2, 2), (11, 11); INSERT INTO b VALUES (1, 100), (3, 300)
     => SET SESSION autocommit = 1; ALTER TABLE a EXCHANGE PARTITION p0 WITH TABLE b; SET SESSION autocommit = 0""",
}
"""Cases whose rows are not restored, as the README says; the message names a statement."""

State = dict[str, object]
CASES = RESTORED | SAVED | TIMES_OF_MARIADB | ROWS_FIRST | NOT_COVERED


class Home:
    """A project, and a database of its own at the first revision, which tests use one after the other."""

    def __init__(self, folder: Path) -> None:
        self.project = copied(folder)
        self.server = server_url("mysql")
        self.is_mariadb = is_mariadb(self.server)
        self.name = f"test_{uuid4().hex}"
        url = self.server.set(database=self.name).render_as_string(hide_password=False)
        self.project.environ["DATABASE_URL"] = url
        self.app = make_app(url)
        self.engine = create_engine(url)
        self.tables, self.before = "", State()
        run_on_server(self.server, f"CREATE DATABASE {self.name}")
        assert [] == self.upgrade("pass", FIRST)
        self.first = [self.rows(f"SHOW CREATE TABLE {name}")[0][1] for name in ("user", "alembic_version")]

    def write(self, body: str, name: str = "a1", parent: str = FIRST, more: str = "") -> None:
        """Write a revision whose upgrade() is this Python."""
        self.project.write(*revision(name, parent, body, more=more))

    def upgrade(self, body: str, target: str = "head") -> list[str]:
        """Run a revision whose upgrade() is this Python; return the error's message and notes if it fails."""
        self.write(body)
        with self.app.app_context():
            try:
                flask_migrate.upgrade(str(self.project.path / "migrations"), target)
            except (Exception, SystemExit) as raised:
                return told_by(raised)
            finally:
                db.engine.dispose()
        return []

    def run(self, *statements: str) -> None:
        """Run these statements as they stand, and commit."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%"))

    def rows(self, query: str) -> list[Any]:
        """Return the rows of a query."""
        with self.engine.connect() as connection:
            return list(connection.exec_driver_sql(query.replace("%", "%%")))

    def clean(self, tables: str) -> None:
        """Create the database again, with these tables, unless the last test left it like that."""
        for script in self.project.scripts():
            if FIRST not in script.name:
                script.unlink()
        if not self.before or (tables, self.before) != (self.tables, self.state()):
            self.drop()
            run_on_server(self.server, f"CREATE DATABASE {self.name}")
            self.run(*self.first, f"INSERT INTO alembic_version VALUES ('{FIRST}')", *split(tables))
            self.tables, self.before = tables, self.state()

    def drop(self) -> None:
        """Drop the database."""
        self.engine.dispose()
        run_on_server(self.server, f"DROP DATABASE IF EXISTS {self.name}")

    def state(self) -> State:
        """Return the SHOW CREATE of each object, without the next AUTO_INCREMENT value, and the rows of each table."""
        found: State = {}
        for name, kind in self.rows("SHOW FULL TABLES"):
            _, shown, *charset = self.rows(f"SHOW CREATE TABLE `{name}`")[0]
            found[name] = re.sub(r" AUTO_INCREMENT=\d+", "", shown), charset
            if kind == "BASE TABLE":
                found[f"rows of {name}"] = sorted(map(repr, self.rows(f"SELECT * FROM `{name}`")))
        for kind in ("PROCEDURE", "FUNCTION"):
            for _, name, *_ in self.rows(f"SHOW {kind} STATUS WHERE db = DATABASE()"):
                found[name] = self.rows(f"SHOW CREATE {kind} `{name}`")[0][1:5]
        for name, *_ in self.rows("SHOW TRIGGERS"):
            found[name] = self.rows(f"SHOW CREATE TRIGGER `{name}`")[0][1:5]
        for _, name, *_ in self.rows("SHOW EVENTS"):
            found[name] = self.rows(f"SHOW CREATE EVENT `{name}`")[0][1:6]
        order = "SELECT trigger_name, action_order FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
        found["order of triggers"] = sorted(self.rows(order))
        return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Yield the home that all tests use."""
    home = Home(tmp_path_factory.mktemp("home"))
    yield home
    home.drop()


@pytest.fixture
def home(shared: Home, backend: str) -> Home:
    """Return a home whose database has SCHEMA."""
    shared.clean(SCHEMA)
    return shared


@pytest.fixture
def bare(shared: Home, backend: str) -> Home:
    """Return a home whose database is at the first revision; clean() adds tables."""
    return shared


def skip_other_product(home: Home, name: str) -> None:
    """Skip the test if this name begins with the other product."""
    if name.startswith("MySQL:" if home.is_mariadb else "MariaDB:"):
        pytest.skip("only for the other product")


def prepared(home: Home, name: str) -> list[str]:
    """Create the tables of this case; return its changes. Skip the test if it is for the other product."""
    skip_other_product(home, name)
    tables, _, changes = CASES[name].rpartition("=>")
    home.clean(tables or SCHEMA)
    return split(changes)


def texts_of(found: State) -> State:
    """Return a state without rows."""
    return {name: what for name, what in found.items() if not name.startswith("rows of ")}


def upgraded(before: State) -> State:
    """Return a state after the revision a1, which did nothing."""
    return {**before, "rows of alembic_version": ["('a1',)"]}


def script(statements: list[str], end: str = STOP) -> str:
    """Return Python that runs these statements, and ``end``."""
    calls = [f"op.get_bind().exec_driver_sql({statement.replace('%', '%%')!r})" for statement in statements]
    return "\n".join([*calls, end])


def elsewhere(statements: list[str]) -> str:
    """Return Python that commits these statements in another session, and fails."""
    calls = [f"    other.exec_driver_sql({statement!r})" for statement in statements]
    return "\n".join(["with op.get_bind().engine.begin() as other:", *calls, STOP])


def saved_tables(told: list[str]) -> dict[str, str]:
    """Return the tables in which rows are saved, by these messages, and the tables whose rows they have."""
    pattern = r"(?:rows written to the new table|by other sessions to) (\w+); .+ in the table (_migration_saved_\w+)"
    return {saved: table for table, saved in re.findall(pattern, "\n".join(told))}


def drop_saved(home: Home, told: list[str]) -> set[str]:
    """Drop the saved tables, which all have to be named; return the tables whose rows they have."""
    named = saved_tables(told)
    found = [name for name in inspect(home.engine).get_table_names() if "_migration_saved_" in name]
    assert sorted(named) == sorted(found), told
    home.run(*[f"DROP TABLE {name}" for name in found])
    return set(named.values())


@pytest.mark.parametrize("name", RESTORED | SAVED | TIMES_OF_MARIADB)
def test_restored(bare: Home, name: str) -> None:
    """If a revision fails, all texts and rows are restored, and nothing of the journal remains; nor if it succeeds."""
    changes = prepared(bare, name)
    stop, *told = bare.upgrade(script(changes))
    saved = drop_saved(bare, told)
    assert ("stop", len(saved)) == (stop, len(told)), told
    assert name in TIMES_OF_MARIADB or bool(saved) == (name in SAVED), told
    assert bare.before == bare.state()
    if bare.tables != SCHEMA:  # many cases use that: it stays as it was
        assert [] == bare.upgrade(script(changes, ""))
        assert [] == [found for found in bare.state() if "_migration_" in found]


@pytest.mark.parametrize("name", ROWS_FIRST | NOT_COVERED)
def test_rows_before_ddl(bare: Home, name: str) -> None:
    """Rows that change before a DDL statement stop an upgrade. If the review is off, their statements are named, and
    all texts are restored.
    """
    changes = prepared(bare, name)
    if name in ROWS_FIRST:
        bare.app.config["MIGRATION_REVIEW"] = "enforce"
        (error,) = bare.upgrade(script(changes))
        bare.app.config["MIGRATION_REVIEW"] = "off"
        assert "(backfill-with-ddl)" in error
        assert bare.before == bare.state()
    stop, *told = bare.upgrade(script(changes))
    rows = [line for line in told if line.startswith("Could not be restored: rows changed by this statement: ")]
    assert ("stop", True) == (stop, bool(told))
    assert len(told) == len(rows) + len(drop_saved(bare, told))
    assert texts_of(bare.before) == texts_of(bare.state())


def test_a_table_that_is_made_at_the_second_try(home: Home) -> None:
    """A table that a script creates after a first CREATE TABLE failed is dropped by the undo."""
    bad, good = "CREATE TABLE fresh (id INT, id INT)", "CREATE TABLE fresh (id INT)"
    body = f"try:\n    op.execute({bad!r})\nexcept sa.exc.DBAPIError:\n    pass\n"
    assert ["stop"] == home.upgrade(body + script([good, "ALTER TABLE fresh ADD COLUMN a INT"]))
    assert home.before == home.state()


def test_inspector(home: Home) -> None:
    """A script may change every table that an inspector lists, also those of the run, and is undone."""
    names = sorted(inspect(home.engine).get_table_names())
    body = (
        "op.drop_column('gift', 'n')\n"
        "names = sorted(sa.inspect(op.get_bind()).get_table_names())\n"
        "sa.MetaData().reflect(op.get_bind())\n"
        f"assert {names!r} == [name for name in names if not name.startswith('_migration_')]\n"
        "for name in names:\n    op.add_column(name, sa.Column('tenant', sa.Integer()))\n"
    )
    assert ["stop"] == home.upgrade(body + STOP)
    assert home.before == home.state()
    assert [] == home.upgrade(body)
    assert {"tenant"} <= {column["name"] for column in inspect(home.engine).get_columns("log")}


@pytest.mark.parametrize(
    ("changes", "writes", "query", "rows", "saved_query", "saved_rows"),
    [
        pytest.param(
            "ALTER TABLE pet DROP CONSTRAINT ck_price, MODIFY price DECIMAL(9, 1), DROP COLUMN notes",
            """UPDATE pet SET name = 'other', price = 7 WHERE id = 1;
            INSERT INTO pet (id, name, price) VALUES (9, 'Zoe', 3); DELETE FROM pet WHERE id = 2""",
            "SELECT id, CAST(price AS CHAR), name, notes FROM pet ORDER BY id",
            [(1, "1.2345", "other", "good"), (5, "9999.9999", "tom", "%s %% {x}"), (9, "3.0000", "Zoe", None)],
            "SELECT id, price FROM {} ORDER BY id",
            [(1, 7), (5, 10000), (9, 3)],
            id="a cast column",
        ),
        pytest.param(
            "ALTER TABLE coded MODIFY id INT",
            "UPDATE coded SET v = 20 WHERE id = 2; INSERT INTO coded VALUES (9, 9)",
            "SELECT id, v FROM coded ORDER BY v",
            [("01", 1), ("02", 2), ("003", 3)],
            "SELECT id, v FROM {} ORDER BY v",
            [(1, 1), (3, 3), (9, 9), (2, 20)],
            id="a cast key",
        ),
        pytest.param(
            "ALTER TABLE log DROP COLUMN what, ADD COLUMN n INT",
            "INSERT INTO log VALUES (1)",
            "SELECT what FROM log",
            [("begin",)],
            "SELECT n FROM {} ORDER BY n",
            [(None,), (1,)],
            id="no primary key",
        ),
        pytest.param(
            "DROP TABLE measure; CREATE TABLE measure (n INT)",
            "INSERT INTO measure VALUES (7)",
            "SELECT id, day, n FROM measure ORDER BY n",
            [(1, 1, 10), (1, 2, 20)],
            "SELECT n FROM {}",
            [(7,)],
            id="a table that was replaced",
        ),
    ],
)
def test_what_others_write(
    home: Home, changes: str, writes: str, query: str, rows: list[Any], saved_query: str, saved_rows: list[Any]
) -> None:
    """What the app writes before the revision fails remains, or is in a saved table which the message names."""
    stop, *told = home.upgrade(script(split(changes), elsewhere(split(writes))))
    ((name, _),) = saved_tables(told).items()
    assert ("stop", 1) == (stop, len(told))
    assert rows == home.rows(query)
    assert saved_rows == home.rows(saved_query.format(name))
    drop_saved(home, told)
    assert texts_of(home.before) == texts_of(home.state())


def test_saved_tables_remain(home: Home) -> None:
    """A later undo leaves the saved table of an earlier one."""
    body = script(["ALTER TABLE log DROP COLUMN what, ADD COLUMN n INT"], elsewhere(["INSERT INTO log VALUES (1)"]))
    told = [*home.upgrade(body), *home.upgrade(body)]
    assert 2 == len(saved_tables(told))
    assert {"log"} == drop_saved(home, told)


def test_concurrent_writers(home: Home) -> None:
    """Sessions that write all the time, while the revision runs and while it is undone, lose nothing."""
    stop, written, errors = threading.Event(), [0] * 3, []

    def write(number: int) -> None:
        row = 100 + number
        while not stop.is_set():
            try:
                home.run(f"INSERT INTO pet (id, price) VALUES ({row}, {number + 1})")
                written[number] += 1
                row += 3
            except Exception as error:
                if not re.search("1205|1412|1213", str(error)):
                    errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(written))]
    for thread in threads:
        thread.start()
    changes = """
        ALTER TABLE pet ADD age INT; ALTER TABLE pet DROP CONSTRAINT ck_price, MODIFY price DECIMAL(9, 1);
        ALTER TABLE pet DROP COLUMN notes; DO SLEEP(0.5)"""
    told = home.upgrade(script(split(changes)))
    stop.set()
    for thread in threads:
        thread.join()
    assert (["stop"], []) == (told, errors)
    rows = home.rows("SELECT id, CAST(price AS CHAR), notes FROM pet WHERE id < 100 ORDER BY id")
    assert [(1, "1.2345", "good"), (2, None, None), (5, "9999.9999", "%s %% {x}")] == rows
    ((count,),) = home.rows("SELECT COUNT(*) FROM pet WHERE id >= 100 AND price IN (1, 2, 3)")
    assert (True, sum(written)) == (sum(written) > 0, count)


def test_what_cannot_be_undone(home: Home) -> None:
    """If an object is not as it was, the run says which and why, and no run goes on before it is.

    What could be undone is not undone again: the app has written there since.
    """
    changes = ["DELETE FROM audit WHERE id = 2", "ALTER TABLE gift DROP COLUMN n", "CREATE TABLE t (id INT)"]
    body = script(
        [*changes, "ALTER TABLE pet DROP KEY uq_tag"], elsewhere(["INSERT INTO pet (id, tag) VALUES (8, 'r')"])
    )
    error = "\n".join(home.upgrade(body))
    assert error.startswith("stop\nCould not be undone: changes to table pet (Duplicate entry 'r' for key")
    assert "Could not be restored: rows changed by this statement: DELETE FROM audit WHERE id = 2" in error
    home.run("UPDATE gift SET n = 70 WHERE id = 1", "CREATE TABLE t (of_others INT)")
    (again,) = home.upgrade(body)
    assert "DELETE FROM audit" not in again
    assert "SELECT kind, name, text FROM _migration_journal" in again
    assert [(70,), (8,)] == home.rows("SELECT n FROM gift ORDER BY id")
    assert [] == home.rows("SELECT of_others FROM t")
    assert "half-way" in home.project.db("status").stdout
    home.run("DELETE FROM pet WHERE id = 8")
    assert [] == home.upgrade("op.drop_index('ix_name', 'pet')")


def test_rows_and_the_backup(bare: Home) -> None:
    """Of acknowledged rows before DDL, the message names the statement and the line that restores the backup."""
    bare.clean(A)
    update = "UPDATE a SET v = v + 1 WHERE id = 1"
    body = script([update, "ALTER TABLE a ADD COLUMN m INT"])
    bare.write(body, more="safety_assured = {'backfill-with-ddl': 'a test'}")
    told = bare.project.fails("upgrade", MIGRATION_REVIEW="enforce", MIGRATION_BACKUP="always")
    assert f"Could not be restored: rows changed by this statement: {update}." in told
    assert re.search(r"flask db restore instance/backups/\S+", told), told


def stop_asleep(home: Home, number: int) -> tuple[int, str]:
    """Run an upgrade, and send its process the signal ``number`` when the server runs the DO SLEEP of its script.

    Return exit status and messages.
    """
    sleeping = "SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'DO SLEEP%'"
    deadline = time.monotonic() + 20
    with home.project.start("flask", "db", "upgrade") as process:
        while not home.rows(sleeping) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, number)
        _, errors = process.communicate()
    return process.returncode, errors


def test_killed(home: Home) -> None:
    """After kill -9 the lock is held while the server still runs the last statement. The next run undoes the rest.

    Until then `status` reports it, and `check` and `rehearse` refuse. Afterwards `check` sees no table of this package.
    """
    before, project = home.before, home.project
    home.write(script(["ALTER TABLE pet DROP COLUMN notes", "DROP TABLE measure", "DO SLEEP(5)"], ""))
    stop_asleep(home, signal.SIGKILL)
    assert "another command holds the lock of this database" in project.db("-x", "lock_wait=0", "upgrade").stderr
    assert "half-way  an upgrade or downgrade is in progress" in project.fails("status")
    for command in ("check", "migrate", "rehearse"):
        assert "Error: an upgrade or downgrade is " in project.fails(command)
    home.write("pass")
    assert re.search(rf"{UNDONE}.*table pet, table measure", project.ok("upgrade"))
    assert upgraded(before) == home.state()
    home.run("CREATE TABLE _migration_saved_a (id INT PRIMARY KEY)")
    told = project.db("check").stderr
    assert (True, False) == ("New upgrade operations detected" in told, "_migration_" in told)


def test_killed_later(home: Home) -> None:
    """A run that is killed in its second revision keeps the first: what the journal had of that holds no more."""
    home.write(script(["ALTER TABLE pet DROP COLUMN notes", "CREATE TABLE t (a INT)"], ""))
    home.write(script(["DO SLEEP(2)"], ""), "b1", "a1")
    stop_asleep(home, signal.SIGKILL)
    before = home.state()
    assert ["('a1',)"] == before["rows of alembic_version"]
    home.write("pass", "b1", "a1")
    assert f"{UNDONE}no object" in home.project.ok("upgrade")
    kept = {name: what for name, what in before.items() if "_migration_" not in name}
    assert {**kept, "rows of alembic_version": ["('b1',)"]} == home.state()


def test_lost(home: Home) -> None:
    """If the session is lost while the server runs a statement, that is not overtaken: the next run undoes it all."""
    home.write(script(["DROP TABLE measure", "DO SLEEP(2)", "DROP TABLE log"], ""))
    status, errors = stop_asleep(home, signal.SIGINT)
    assert (1, True) == (status, "the next upgrade or downgrade rolls them back" in errors)
    home.write("pass")
    assert f"{UNDONE}table measure" in home.project.ok("upgrade")
    assert upgraded(home.before) == home.state()


KILLED_UNDOS = {
    "tables that swap names in one statement": """
        DROP TABLE IF EXISTS `c`; CREATE TABLE IF NOT EXISTS _migration_renames; RENAME TABLE;
        DELETE FROM _migration_journal WHERE id =; DROP TABLE _migration_renamed;
        DELETE FROM _migration_journal WHERE id >""",
    "table that is swapped for a new one like it": """
        RENAME TABLE; DROP TABLE _migration_renamed; CREATE TABLE `a`; INSERT INTO `a`;
        DELETE FROM _migration_journal WHERE id >; DROP TABLE IF EXISTS _migration_copy_1;
        DROP TABLE IF EXISTS _migration_journal""",
    "primary key of two columns cast": """
        DROP TABLE IF EXISTS _migration_saved; CREATE TABLE _migration_saved; DELETE FROM `a`; ALTER TABLE `a`;
        INSERT INTO `a`; DELETE FROM _migration_journal WHERE id >""",
    "columns renamed and cast": """
        CREATE TABLE _migration_copy_1_again; INSERT INTO _migration_copy_1_again; ALTER TABLE `a` RENAME;
        ALTER TABLE `a` CHANGE; UPDATE `a`""",
    "columns that swap names": "after ALTER TABLE `gift` RENAME",
    "column unique": "ALTER TABLE `t` ADD; ALTER TABLE `t` CHANGE; UPDATE `t`",
    "column that counts": "ALTER TABLE `t` ADD; ALTER TABLE `t` CHANGE; UPDATE `t`",
    "column dropped, cast, and then its table dropped": """
        DROP TABLE IF EXISTS `t`; CREATE TABLE `t`; INSERT INTO `t`; UPDATE `t` t JOIN _migration_copy_2;
        ALTER TABLE `t`; DELETE FROM _migration_journal WHERE id >""",
    "column dropped, and its name used again": "ALTER TABLE `t` ADD; ALTER TABLE `t` CHANGE; UPDATE `t`",
}
"""Cases, and statements of their undo: one for each place in the code that changes the database."""


@pytest.mark.parametrize(
    ("name", "statement"), [(name, statement) for name in KILLED_UNDOS for statement in split(KILLED_UNDOS[name])]
)
def test_killed_undo(bare: Home, monkeypatch: pytest.MonkeyPatch, name: str, statement: str) -> None:
    """An undo that is killed too, before or after this statement, is finished by the next run."""

    class Killed(BaseException):
        """An end of the process, for which no code is prepared."""

    def killed(execute: Callable[..., Any], heads: str) -> Any:
        def stopping(*args: Any) -> Any:
            if args[0].startswith(statement.removeprefix("after ")):
                if statement.startswith("after "):
                    execute(*args)
                raise Killed
            return execute(*args)

        return undo(stopping, heads)

    changes = [change for change in prepared(bare, name) if not change.startswith(("UPDATE", "INSERT"))]
    monkeypatch.setattr("app.safe_migrations.adapters.mysql.journaling.undo", killed)
    with pytest.raises(Killed):
        bare.upgrade(script(changes))
    monkeypatch.undo()
    told = bare.upgrade(STOP)
    if told != ["stop"]:  # rows are saved: that stops one run
        assert (name in SAVED, {"a"}) == (True, drop_saved(bare, told))
        told = bare.upgrade(STOP)
    saved = [table for table in bare.state() if table.startswith("_migration_saved_")]
    assert ["stop"] == told
    assert not saved or "WHERE id > " in statement  # killed when all was done: no later run can name the table
    bare.run(*[f"DROP TABLE {table}" for table in saved])
    assert bare.before == bare.state()


@pytest.mark.parametrize("number", [4, 9, 16])
def test_undo_killed_by_a_signal(bare: Home, number: int) -> None:
    """So is one whose process kill -9 ends before its n-th statement that changes something."""
    changes = prepared(bare, "column dropped, cast, and then its table dropped")
    kill = f"""
        import os
        from app.safe_migrations.adapters.mysql import journaling
        undo, left = journaling.undo, {number}
        def killed(execute, heads):
            def counted(*args):
                nonlocal left
                left -= not args[0].startswith(("SELECT", "SHOW", "SET"))
                return execute(*args) if left else os.kill(os.getpid(), 9)
            return undo(counted, heads)
        journaling.undo = killed
    """
    bare.write(f"{dedent(kill)}\n{script(changes)}")
    assert -signal.SIGKILL == bare.project.run("flask", "db", "upgrade").returncode
    assert bare.before != bare.state()
    assert ["stop"] == bare.upgrade(STOP)
    assert bare.before == bare.state()


KILLED_STATEMENTS = """
    RENAME TABLE a TO tmp, b TO a, tmp TO b; RENAME TABLE a TO old, b TO a;
    ALTER TABLE a RENAME TO c, ADD COLUMN n INT; ALTER TABLE a DROP COLUMN v;
    ALTER TABLE a CONVERT TO CHARACTER SET latin1; DROP TABLE a; TRUNCATE a; CREATE TABLE c (n INT);
    MariaDB: CREATE OR REPLACE TABLE a (n INT);
    MariaDB: CREATE OR REPLACE TABLE a (id INT PRIMARY KEY, v INT, w INT)"""


@pytest.mark.parametrize("has_run", [True, False])
@pytest.mark.parametrize("statement", split(KILLED_STATEMENTS))
def test_killed_statement(bare: Home, monkeypatch: pytest.MonkeyPatch, statement: str, has_run: bool) -> None:
    """The next run finds out whether the statement that was under way when the process was killed has run."""
    skip_other_product(bare, statement)
    statement = statement.removeprefix("MariaDB: ")
    bare.clean(f"{A}; CREATE TABLE b (v INT); INSERT INTO b VALUES (5)")
    stop = (
        "from sqlalchemy import event\n"
        "@event.listens_for(op.get_bind(), 'before_cursor_execute')\n"
        "def stop(_connection, cursor, statement, *_args):\n"
        f"    if statement == {statement!r}:\n"
        f"        cursor.execute({statement if has_run else 'COMMIT'!r})\n"
        "        raise RuntimeError('killed')\n"
    )
    with monkeypatch.context() as patched:
        patched.setattr("app.safe_migrations.adapters.mysql.journaling._undo", lambda *_args: None)
        assert ["killed"] == bare.upgrade(stop + script([statement]))
    left = bare.state()
    assert left["rows of _migration_journal"]
    assert (bare.before != {name: what for name, what in left.items() if "_migration_" not in name}) == has_run
    told = bare.upgrade(STOP)
    if told != ["stop"]:
        assert ("REPLACE" in statement, drop_saved(bare, told)) == (True, {"a"})
        told = bare.upgrade(STOP)
    assert (["stop"], bare.before) == (told, bare.state())


def test_table_of_others(home: Home) -> None:
    """A table that others make meanwhile, under the name of one that the revision is about to make, is not ours."""
    create = "CREATE TABLE report AS SELECT 1 AS one"
    body = (
        f"with op.get_bind().engine.begin() as other:\n    other.exec_driver_sql({create!r})\n"
        "try:\n    op.create_table('report', sa.Column('two', sa.Integer()))\n"
        "except sa.exc.OperationalError:\n    pass\n"
    )
    assert ["stop"] == home.upgrade(body + script(["DROP INDEX ix_name ON pet"]))
    assert [(1,)] == home.rows("SELECT one FROM report")
    home.run("DROP TABLE report")
    assert home.before == home.state()


@pytest.mark.parametrize(
    "statement",
    split("RENAME TABLE missing TO log; ALTER TABLE missing RENAME TO log; RENAME TABLE log TO old, missing TO log"),
)
def test_failed_rename(home: Home, statement: str) -> None:
    """A renaming that the server refuses has renamed nothing: the table of the new name stays what it is."""
    (error,) = home.upgrade(script([statement]))
    assert re.search("missing' doesn't exist|'log' already exists", error)  # MySQL looks at the new name first
    assert home.before == home.state()


def test_sequence(bare: Home) -> None:
    """A table whose default is the next number of a sequence comes back after that; where it was, is told."""
    skip_other_product(bare, "MariaDB: sequences")
    bare.clean("CREATE SEQUENCE año; CREATE TABLE a (id INT PRIMARY KEY, v INT DEFAULT NEXTVAL(año))")
    told = bare.upgrade(script(["DROP TABLE a", "DROP SEQUENCE año"]))
    assert ["stop", "Could not be restored: the current value of the sequence año; set it with ALTER SEQUENCE."] == told
    assert bare.before == bare.state()


def test_trigger_of_an_administrator(bare: Home) -> None:
    """A trigger of another user is out of the way of rows that come back, if it can be made again; if not, it stays."""
    bare.clean(f"{A}; CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v + 1")
    bare.write(script(["TRUNCATE a", "CREATE TABLE b (n INT)"]))
    rights = "SUPER" if bare.is_mariadb else "SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER"
    with mysql_user(bare.engine.url, f"{rights} ON *.*", f"ALL ON `{bare.name}`.*") as url:
        told = bare.project.fails("upgrade", DATABASE_URL=url.render_as_string(hide_password=False))
    assert ("stop" in told, "Could not" in told) == (True, False), told
    assert {**bare.before, "rows of a": ["(1, 10, 20)" if bare.is_mariadb else "(1, 11, 20)"]} == bare.state()


@pytest.mark.parametrize(
    ("changes", "written", "is_told_after_a_kill"),
    [
        (["UPDATE old SET v = v + 1"], 0, False),
        (["UPDATE old SET v = v + 1", "CREATE TABLE t (n INT)"], 0, True),
        (["ALTER TABLE a ENGINE=MyISAM", "UPDATE a SET v = v + 1"], 1, False),
    ],
)
def test_without_transactions(bare: Home, changes: list[str], written: int, is_told_after_a_kill: bool) -> None:
    """Of a table that cannot roll back, the statements are named; after a kill only if a later one committed."""
    bare.clean(f"{A}; CREATE TABLE old (v INT) ENGINE=MyISAM; INSERT INTO old VALUES (10)")
    what = f"Could not be restored: rows changed by this statement: {changes[written]}."
    assert ["stop", what] == bare.upgrade(script(changes))
    bare.write(script(changes, KILL))
    assert -signal.SIGKILL == bare.project.run("flask", "db", "upgrade").returncode
    assert is_told_after_a_kill == (what in "\n".join(bare.upgrade("pass")))


@pytest.mark.parametrize(
    ("first", "statement"),
    [
        ("", "CALL count_pets()"),
        ("", "SET SESSION autocommit = 1"),
        ("", "MariaDB: BEGIN NOT ATOMIC UPDATE audit SET id = 1; COMMIT; END"),
        ("", "MariaDB: IF 1 THEN UPDATE audit SET id = 1; COMMIT; END IF"),
        (
            "with op.get_context().autocommit_block():\n    op.execute('UPDATE audit SET id = 1')\n",
            "UPDATE audit SET id = 1",
        ),
    ],
)
def test_out_of_sight(home: Home, first: str, statement: str) -> None:
    """What a routine or an autocommit block may have changed is told, and hinders no good revision."""
    skip_other_product(home, statement)
    statement = statement.removeprefix("MariaDB: ")
    body = first + script([statement, "ALTER TABLE log ADD COLUMN n INT"], "")
    stop, *told = home.upgrade(f"{body}\n{STOP}")
    assert ("stop", True) == (stop, any(f"rows changed by this statement: {statement}" in line for line in told))
    assert home.before == home.state()
    assert [] == home.upgrade(body)
    assert "_migration_journal" not in home.state()


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        ("ANALYZE UPDATE gift SET n = 1", "remove ANALYZE or SET STATEMENT"),
        ("ANALYZE FORMAT=JSON DELETE FROM gift", "remove ANALYZE or SET STATEMENT"),
        ("SET STATEMENT max_statement_time = 9 FOR DROP TABLE gift", "remove ANALYZE or SET STATEMENT"),
        ("LOCK TABLES log WRITE, alembic_version WRITE", "remove the LOCK statement"),
        ("SELECT RELEASE_ALL_LOCKS()", "release only your own lock"),
    ],
)
def test_refused_statement(home: Home, statement: str, remedy: str) -> None:
    """It is refused before it runs, and what the revision did before is undone."""
    (error,) = home.upgrade(script(["DROP TABLE measure", statement]))
    assert f"because a failed revision could not be undone after it: {statement}" in error
    assert f"Instead: {remedy}" in error
    assert home.before == home.state()


def test_failure_in_another_schema(bare: Home) -> None:
    """A statement on another schema is reported only if it succeeded."""
    other = f"other_{uuid4().hex}"
    bare.clean("")
    bare.run(f"CREATE DATABASE {other}")
    try:
        (error,) = bare.upgrade(script([f"CREATE TABLE {other}.made (id INTEGER, id INTEGER)"]))
        assert "Duplicate column name 'id'" in error
        create = f"CREATE TABLE {other}.made (id INTEGER PRIMARY KEY, note VARCHAR(400) DEFAULT {'x' * 300!r})"
        (error, told) = bare.upgrade(script([create]))
        assert ("stop", True, True) == (error, told.startswith("Could not be restored: "), len(told) < 300)
    finally:
        bare.run(f"DROP DATABASE {other}")


def test_waiting_for_itself(bare: Home) -> None:
    """MariaDB waits for its own session in EXCHANGE PARTITION: the message says so, and gives a line that runs. A
    transaction in another database of the server is not blamed.
    """
    skip_other_product(bare, "MariaDB: waits")
    _, exchange, _ = prepared(bare, "exchanged partition")
    bare.write(f"op.execute({exchange!r})")
    elsewhere = create_engine(bare.server)
    with elsewhere.connect() as other:
        other.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        told = bare.project.fails("upgrade", MIGRATION_LOCK_TIMEOUT="1", MIGRATION_LOCK_RETRIES="1")
    elsewhere.dispose()
    line = "with op.get_context().autocommit_block():"
    assert (True, True) == ("no other session holds a lock" in told, line in told), told
    bare.write(f"{line}\n    op.execute({exchange!r})")
    bare.project.ok("upgrade")
    assert [(1,), (3,)] == bare.rows("SELECT id FROM a WHERE id < 10 ORDER BY id")
