"""MySQL and MariaDB: what a revision changed before it failed or was killed is put back, in the server's own words."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import flask_migrate
import pytest
from sqlalchemy import URL, Connection, Engine, create_engine, inspect, text

from ..adapters.mysql.undo import undo
from .example.app.extensions import db
from .support import FIRST, Project, copied, is_mariadb, make_app, revision, run_on_server, server_url, told_by

pytestmark = pytest.mark.parametrize("backend", ["mysql"], indirect=True)

UNDONE = (
    "An earlier run failed, was killed or lost its connection. Its unfinished revision was undone;"
    " restored to their state before it: "
)

SCHEMA = [
    "CREATE TABLE owner (id INT PRIMARY KEY, code VARCHAR(9) UNIQUE, name VARCHAR(80))",
    r"""CREATE TABLE pet (
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
        UNIQUE KEY uq_tag (tag),
        KEY ix_name (name),
        KEY ix_notes (notes(10)),
        FULLTEXT KEY ft (notes),
        CONSTRAINT fk_owner FOREIGN KEY (owner_id) REFERENCES owner (id) ON DELETE CASCADE
    ) COMMENT='all, pets'""",
    "CREATE TABLE log (what VARCHAR(9))",
    "CREATE TABLE measure (id INT, day INT, n INT, PRIMARY KEY (id, day)) PARTITION BY HASH (day) PARTITIONS 2",
    'CREATE TABLE `100% "odd"` (id INT PRIMARY KEY, `%s` INT, `x"y` INT, `it\'s` INT)',
    "CREATE TABLE `order` (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, parent INT UNSIGNED,"
    " CONSTRAINT fk_self FOREIGN KEY (parent) REFERENCES `order` (id))",
    "CREATE TABLE item (id INT PRIMARY KEY, order_id INT UNSIGNED,"
    " CONSTRAINT fk_order FOREIGN KEY (order_id) REFERENCES `order` (id))",
    "CREATE TABLE audit (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(99))",
    "CREATE TRIGGER note AFTER UPDATE ON owner FOR EACH ROW INSERT INTO audit (what) VALUES (NEW.name)",
    'INSERT INTO `100% "odd"` VALUES (1, 2, 3, 4)',
    "INSERT INTO `order` VALUES (1, NULL), (2, 1)",
    "INSERT INTO item VALUES (1, 2)",
    "CREATE TABLE toy (id INT PRIMARY KEY, made DATETIME(6), price DECIMAL(10, 4), parent INT,"
    " CONSTRAINT fk_toy FOREIGN KEY (parent) REFERENCES toy (id) ON DELETE SET NULL)",
    "CREATE TABLE box (id INT PRIMARY KEY, toy INT, CONSTRAINT fk_box FOREIGN KEY (toy) REFERENCES toy (id)"
    " ON DELETE SET NULL ON UPDATE CASCADE)",
    "INSERT INTO toy VALUES (1, '2001-02-03 04:05:06.999999', 1.2345, NULL)",
    "INSERT INTO box VALUES (1, 1), (2, 1)",
    "CREATE TRIGGER dear_toy BEFORE UPDATE ON toy FOR EACH ROW SET NEW.price = NEW.price + 1",
    "CREATE TABLE gift (id INT PRIMARY KEY, code VARCHAR(9), name VARCHAR(80), n INT)",
    "INSERT INTO gift VALUES (1, 'a', 'ball', 7), (2, NULL, 'bone', 8)",
    "CREATE TABLE word (a VARCHAR(9))",
    "INSERT INTO word VALUES ('one'), ('one')",
    "CREATE VIEW dear AS SELECT name FROM pet WHERE price > 100",
    "CREATE VIEW dearest AS SELECT name FROM dear",
    "CREATE TRIGGER tidy BEFORE INSERT ON pet FOR EACH ROW SET NEW.tag = LOWER(NEW.tag)",
    "CREATE PROCEDURE count_pets() SELECT COUNT(*) FROM pet",
    "CREATE FUNCTION give_one() RETURNS INT DETERMINISTIC RETURN 1",
    "INSERT INTO owner VALUES (1, 'a', 'Ann'), (2, 'b', 'Bo')",
    "INSERT INTO pet (id, name, kind, price, tag, born, owner_id, notes) VALUES"
    " (1, 'Rex', 'dog, or', 1.2345, 'r', '2001-02-03 04:05:06', 1, 'good'),"
    " (2, 'Tom', 'cat', NULL, NULL, '2002-02-03 04:05:06', NULL, NULL),"
    " (5, 'tom', 'cat', 9999.9999, '007', '2003-02-03 04:05:06', 2, '%s %% {x}')",
    "INSERT INTO log VALUES ('begin')",
    "INSERT INTO measure VALUES (1, 1, 10), (1, 2, 20)",
]

CHANGES = {
    "children deleted by a foreign key": ["DELETE FROM owner WHERE id = 1", "CREATE TABLE t (a INT)"],
    "children set by a foreign key": [
        "UPDATE toy SET id = 3",
        "DELETE FROM toy WHERE id = 3",
        "CREATE TABLE t (a INT)",
    ],
    "fractions of seconds": ["ALTER TABLE toy MODIFY made DATETIME", "ALTER TABLE toy MODIFY price NUMERIC"],
    "names in another case": ["ALTER TABLE gift DROP COLUMN NAME", "ALTER TABLE toy RENAME COLUMN Price TO cost"],
    "column renamed and cast, then written": [
        "ALTER TABLE gift CHANGE n called CHAR(3)",
        "UPDATE gift SET called = 'x'",
        "CREATE TABLE t (a INT)",
    ],
    "columns that swap names": ["ALTER TABLE gift RENAME COLUMN code TO name, RENAME COLUMN name TO code"],
    "columns with a key that pass on their names": [
        "ALTER TABLE gift ADD FULLTEXT KEY ft (name)",
        "ALTER TABLE gift RENAME COLUMN code TO old, RENAME COLUMN name TO code",
    ],
    "columns that pass on their names": [
        "ALTER TABLE gift RENAME COLUMN code TO old, RENAME COLUMN name TO code",
        "UPDATE gift SET old = NULL",
        "CREATE TABLE t (a INT)",
    ],
    "tables that swap names": [
        "RENAME TABLE log TO x",
        "RENAME TABLE audit TO log",
        "RENAME TABLE x TO audit",
        "INSERT INTO log (what) VALUES ('new')",
        "CREATE TABLE t (a INT)",
    ],
    "trigger of a renamed table": [
        "RENAME TABLE owner TO person",
        "UPDATE person SET code = 'z' WHERE id = 1",
        "CREATE TABLE t (a INT)",
    ],
    "views of views": ["DROP VIEW dearest", "DROP VIEW dear", "CREATE VIEW dear AS SELECT 1 AS one"],
    "WHERE in a subquery": [
        "ALTER TABLE owner ADD n INT",
        "UPDATE owner SET n = (SELECT MAX(id) FROM item WHERE id > 0), name = 'x'",
        "CREATE TABLE t (a INT)",
    ],
    "trigger that sets a column": [
        "ALTER TABLE toy ADD n INT",
        "UPDATE toy SET n = 1",
        "CREATE TABLE t (a INT)",
    ],
    "view in the server's words": [
        "CREATE OR REPLACE ALGORITHM=UNDEFINED DEFINER=CURRENT_USER SQL SECURITY DEFINER VIEW dear AS SELECT 2 AS two"
    ],
    "another character set without a key": ["ALTER TABLE word CONVERT TO CHARACTER SET latin1"],
    "new table": [
        "CREATE TABLE new (id INT PRIMARY KEY, pet_id INT REFERENCES pet (id))",
        "INSERT INTO new VALUES (1, 1)",
    ],
    "new table from rows": ["CREATE TABLE copy AS SELECT * FROM pet"],
    "dropped table": ["DROP TABLE pet"],
    "dropped parent": ["SET foreign_key_checks = 0", "DROP TABLE owner", "SET foreign_key_checks = 1"],
    "dropped and made anew": ["DROP TABLE measure", "CREATE TABLE measure (n INT)", "INSERT INTO measure VALUES (1)"],
    "truncated table": ["TRUNCATE TABLE measure", "INSERT INTO measure VALUES (1, 1, 99)"],
    "renamed table": ["RENAME TABLE pet TO animal, log TO diary", "ALTER TABLE animal DROP COLUMN notes"],
    "renamed by alter": ["ALTER TABLE pet ADD COLUMN age INT, RENAME TO animal"],
    "swapped tables": ["RENAME TABLE log TO tmp", "RENAME TABLE owner TO log", "RENAME TABLE tmp TO owner"],
    "new column": ["ALTER TABLE pet ADD COLUMN age INT NOT NULL DEFAULT 3 AFTER id, ADD KEY ix_age (age)"],
    "dropped columns": ["ALTER TABLE pet DROP COLUMN price, DROP CONSTRAINT ck_price", "ALTER TABLE pet DROP notes"],
    "dropped generated columns": ["ALTER TABLE pet DROP COLUMN label, DROP COLUMN short"],
    "dropped key columns": ["ALTER TABLE pet DROP COLUMN tag", "ALTER TABLE pet DROP KEY ix_name"],
    "dropped primary key": ["ALTER TABLE pet MODIFY id INT NOT NULL, DROP PRIMARY KEY"],
    "dropped foreign key": ["ALTER TABLE pet DROP FOREIGN KEY fk_owner", "ALTER TABLE pet DROP COLUMN owner_id"],
    "changed foreign key": [
        "ALTER TABLE pet DROP FOREIGN KEY fk_owner",
        "ALTER TABLE pet ADD CONSTRAINT fk_owner FOREIGN KEY (owner_id) REFERENCES owner (id) ON DELETE SET NULL",
    ],
    "renamed column": ["ALTER TABLE pet CHANGE price cost DECIMAL(10, 4), DROP CONSTRAINT ck_price"],
    "renamed and moved": [
        "ALTER TABLE pet RENAME COLUMN notes TO remarks",
        "ALTER TABLE pet MODIFY remarks TEXT FIRST",
    ],
    "renamed key column of a parent": ["ALTER TABLE owner CHANGE id number INT NOT NULL"],
    "lost default and comment": ["ALTER TABLE pet MODIFY name VARCHAR(200)", "ALTER TABLE pet ALTER kind DROP DEFAULT"],
    "cast": ["ALTER TABLE pet DROP CONSTRAINT ck_price, MODIFY price DECIMAL(9, 1)"],
    "cast and renamed": ["ALTER TABLE pet CHANGE born day DATE"],
    "longer enum": ["ALTER TABLE pet MODIFY kind ENUM('bird', 'cat', 'dog, or') NOT NULL"],
    "changed generated column": [
        "ALTER TABLE pet DROP COLUMN label, ADD COLUMN label VARCHAR(9) AS ('x') STORED FIRST"
    ],
    "table options": ["ALTER TABLE pet COMMENT='', AUTO_INCREMENT=100", "ALTER TABLE log COMMENT='new'"],
    "charset": ["ALTER TABLE owner CONVERT TO CHARACTER SET latin1"],
    "partitions": ["ALTER TABLE measure REMOVE PARTITIONING"],
    "more partitions": ["ALTER TABLE measure PARTITION BY HASH (id) PARTITIONS 4"],
    "dropped index": ["DROP INDEX ix_name ON pet", "CREATE INDEX ix_price ON pet (price)"],
    "views": ["DROP VIEW dear", "CREATE VIEW cheap AS SELECT 1 AS one"],
    "changed view": ["CREATE OR REPLACE VIEW dear AS SELECT price FROM pet"],
    "trigger": [
        "DROP TRIGGER tidy",
        "CREATE TRIGGER loud BEFORE INSERT ON pet FOR EACH ROW SET NEW.tag = UPPER(NEW.tag)",
    ],
    "routines": ["DROP PROCEDURE count_pets", "DROP FUNCTION give_one", "CREATE PROCEDURE p() SELECT 1"],
    "rows": [
        "UPDATE pet SET name = 'REX', notes = NULL WHERE id = 1",
        "UPDATE pet SET tag = UPPER(tag)",
        "DELETE FROM pet WHERE id = 2",
        "INSERT INTO pet (name, tag) VALUES ('Kim', 'k')",
        "ALTER TABLE log ADD COLUMN id INT",
    ],
    "rows of a key": ["UPDATE measure SET day = 9 WHERE day = 2", "CREATE TABLE new (id INT)"],
    "rows and their column": ["UPDATE pet SET notes = CONCAT('x', notes)", "ALTER TABLE pet DROP COLUMN notes"],
    "rows and their table": ["DELETE FROM measure WHERE day = 1", "DROP TABLE measure"],
    "percent and quotes": [
        'ALTER TABLE `100% "odd"` CHANGE `%s` pct INT, DROP COLUMN `it\'s`',
        'ALTER TABLE `100% "odd"` DROP COLUMN `x"y`',
    ],
    "percent, rows and name": ['UPDATE `100% "odd"` SET `%s` = 7', 'RENAME TABLE `100% "odd"` TO `even%`'],
    "rows of a trigger": ["UPDATE owner SET name = 'x'", "ALTER TABLE owner ADD COLUMN n INT"],
    "new trigger and its rows": [
        "CREATE TRIGGER t2 AFTER INSERT ON item FOR EACH ROW INSERT INTO audit (what) VALUES ('item')",
        "INSERT INTO item VALUES (5, 1)",
        "CREATE TABLE new (id INT)",
    ],
    "rows of a view": ["UPDATE dear SET name = 'x'", "ALTER TABLE log ADD COLUMN n INT"],
    "view of a renamed column": [
        "ALTER TABLE pet DROP CONSTRAINT ck_price, CHANGE price cost DECIMAL(10, 4)",
        "CREATE OR REPLACE VIEW dear AS SELECT name FROM pet WHERE cost > 100",
    ],
    "view of a renamed table": [
        "RENAME TABLE pet TO animal",
        "CREATE OR REPLACE VIEW dear AS SELECT name FROM animal",
    ],
    "renamed parent, dropped child": [
        "RENAME TABLE owner TO owners",
        "ALTER TABLE pet DROP FOREIGN KEY fk_owner",
        "UPDATE pet SET tag = 'x1' WHERE id = 1",
        "DROP TABLE pet",
    ],
    "renamed parent, changed child": ["RENAME TABLE owner TO owners", "ALTER TABLE pet DROP COLUMN notes"],
    "wider keys": [
        "ALTER TABLE `order` DROP FOREIGN KEY fk_self",
        "ALTER TABLE item DROP FOREIGN KEY fk_order",
        "ALTER TABLE `order` MODIFY id BIGINT NOT NULL AUTO_INCREMENT",
        "ALTER TABLE `order` MODIFY parent BIGINT",
        "ALTER TABLE item MODIFY order_id BIGINT",
        "ALTER TABLE `order` ADD CONSTRAINT fk_self FOREIGN KEY (parent) REFERENCES `order` (id)",
        "ALTER TABLE item ADD CONSTRAINT fk_order FOREIGN KEY (order_id) REFERENCES `order` (id)",
    ],
    "swapped unique values": [
        "UPDATE pet SET tag = 'q' WHERE id = 1",
        "UPDATE pet SET tag = 'r' WHERE id = 5",
        "UPDATE pet SET tag = '007' WHERE id = 1",
        "ALTER TABLE pet ADD COLUMN n INT",
    ],
    "row format": ["ALTER TABLE log ROW_FORMAT=COMPACT, COMMENT='x'"],
    "from column to column": [
        "ALTER TABLE gift ADD COLUMN called VARCHAR(99)",
        "UPDATE gift SET called = name",
        "ALTER TABLE gift DROP COLUMN name",
        "ALTER TABLE gift CHANGE called name VARCHAR(99)",
    ],
    "other sql_mode": [
        "SET SESSION sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'",
        "UPDATE pet SET notes = 'x'",
        "ALTER TABLE pet ADD COLUMN n INT, DROP COLUMN tag",
    ],
}

A = "CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT)"
# Tables, and statements that change them.
# Columns that are not valid before their values are back: their definitions, and what else their table has.
DEMANDING = {
    "unique": ("a VARCHAR(80) NOT NULL", "UNIQUE KEY uq (a)"),
    "unique, with a default and a comment": (
        "a VARCHAR(80) NOT NULL DEFAULT ' NOT NULL' COMMENT 'is '' NOT NULL'",
        "UNIQUE KEY uq (a)",
    ),
    "unique together": ("a INT NOT NULL", "b INT NOT NULL DEFAULT 1, UNIQUE KEY uq (b, a)"),
    "with a CHECK of the table": ("a INT NOT NULL", "CONSTRAINT ck CHECK (a > 0)"),
    "with a CHECK of its own": ("a INT NOT NULL CHECK (a > 0)", "KEY ix (a)"),
    "that counts": ("a INT NOT NULL AUTO_INCREMENT", "UNIQUE KEY uq (a)"),
    "that refers": ("a INT NOT NULL", "CONSTRAINT fk FOREIGN KEY (a) REFERENCES user (id)"),
    "of a place": ("a POINT NOT NULL", "SPATIAL KEY sp (a)"),
    "of a time": ("a TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP", "UNIQUE KEY uq (a)"),
    "of a fixed set": ("a ENUM('x', 'y') NOT NULL", "UNIQUE KEY uq (a)"),
    "of JSON": ("a JSON NOT NULL", "n INT"),
    "with a generated one": ("a INT NOT NULL", "g INT AS (100 / a) STORED, UNIQUE KEY uq (g)"),
    "MySQL, with a key of an expression": ("a INT NOT NULL", "UNIQUE KEY uq ((a + 1))"),
}
VALUES = {"that refers": (1, 2), "of a place": ("POINT(1, 2)", "POINT(3, 4)"), "of JSON": ("'[1]'", "'[2]'")}
VALUES |= {"of a time": ("'2001-02-03 04:05:06'", "'2002-02-03 04:05:06'"), "of a fixed set": ("'x'", "'y'")}
DROPS = {
    "with a generated one": "ALTER TABLE t DROP COLUMN g, DROP COLUMN a",
    "unique together": "ALTER TABLE t DROP COLUMN a, DROP KEY uq",
}
DROPS |= {
    "that refers": "ALTER TABLE t DROP FOREIGN KEY fk, DROP COLUMN a",
    "MySQL, with a key of an expression": "ALTER TABLE t DROP KEY uq, DROP a",
}
DROPS |= {"with a CHECK of the table": "ALTER TABLE t DROP CONSTRAINT ck, DROP COLUMN a"}
OWN: dict[str, tuple[list[str], list[str]]] = {
    **{
        f"{name.partition(', ')[0] if name.startswith('M') else 'column'} {name}": (
            [
                f"CREATE TABLE t (id INT PRIMARY KEY, {column}, last INT NOT NULL, {rest})",
                "INSERT IGNORE INTO user (id, username, email) VALUES (1, 'a', 'a'), (2, 'b', 'b')",
                "INSERT INTO t (id, a, last) VALUES (1, {}, 5), (2, {}, 6)".format(*VALUES.get(name, (1, 2))),
            ],
            [DROPS.get(name, "ALTER TABLE t DROP COLUMN a")],
        )
        for name, (column, rest) in DEMANDING.items()
    },
    "column dropped, cast, and then its table dropped": (
        [
            "CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL UNIQUE, b DECIMAL(9, 3), c INT)",
            "INSERT INTO t VALUES (1, 1, 1.234, 5), (2, 2, 2.345, 6)",
        ],
        ["ALTER TABLE t DROP COLUMN a", "ALTER TABLE t MODIFY b INT", "DROP TABLE t", "CREATE TABLE t (n INT)"],
    ),
    "column dropped, and its name used again": (
        [
            "CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL UNIQUE, b VARCHAR(9))",
            "INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y')",
        ],
        ["ALTER TABLE t DROP COLUMN a, CHANGE b a VARCHAR(3)", "ALTER TABLE t ADD b DATE", "ALTER TABLE t DROP b"],
    ),
    "key renamed, and values cast": (
        [
            "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, b DECIMAL(9, 3))",
            "INSERT INTO t (b) VALUES (1.2)",
        ],
        [
            "ALTER TABLE t CHANGE id number BIGINT AUTO_INCREMENT",
            "ALTER TABLE t CHANGE b id INT",
            "ALTER TABLE t ADD c INT, DROP id",
        ],
    ),
    "column of the primary key": (
        [
            "CREATE TABLE t (a INT, b INT, c INT NOT NULL UNIQUE, PRIMARY KEY (a, b))",
            "INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)",
        ],
        ["ALTER TABLE t DROP PRIMARY KEY, DROP COLUMN b, ADD PRIMARY KEY (a)"],
    ),
    **{
        f"text of {collation}": (
            [
                f"CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(20), e ENUM('a b', 'COLLATE c') NOT NULL,"
                f" l VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german2_ci, n VARCHAR(9) COLLATE {other})"
                f" DEFAULT CHARSET={collation.partition('_')[0]} COLLATE={collation}",
                "INSERT INTO a VALUES (1, 'x', 'a b', 'y', 'z')",
            ],
            ["ALTER TABLE a DROP COLUMN s, DROP n", "ALTER TABLE a MODIFY e VARCHAR(3), DROP l"],
        )
        for collation, other in (
            ("utf8mb4_unicode_ci", "utf8mb4_bin"),
            ("utf8mb4_general_ci", "utf8mb4_unicode_ci"),
            ("latin1_german1_ci", "latin1_bin"),
        )
    },
    "text of a table with another character set": (
        [
            "CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(20)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci",
            "INSERT INTO a VALUES (1, 'x')",
        ],
        ["ALTER TABLE a CONVERT TO CHARACTER SET latin1", "ALTER TABLE a MODIFY s TEXT"],
    ),
    "defaults with a decimal point": (
        [A, "INSERT INTO a VALUES (1, 10, 20)"],
        [
            "ALTER TABLE a MODIFY v NUMERIC(10, 2) DEFAULT 9.99",
            "ALTER TABLE a ADD r DOUBLE DEFAULT 1.5, DROP COLUMN w",
            "ALTER TABLE a ADD s DOUBLE DEFAULT .5, DROP COLUMN v",
            "CREATE TABLE copy AS SELECT a.id FROM a",
        ],
    ),
    "checks before others": (
        [
            "CREATE TABLE a (id INT PRIMARY KEY, v INT, CONSTRAINT c1 CHECK (v > 1), CONSTRAINT c2 CHECK (v > 2),"
            " CONSTRAINT c3 CHECK (v > 3))"
        ],
        ["ALTER TABLE a DROP CONSTRAINT c2", "ALTER TABLE a DROP CONSTRAINT c1"],
    ),
    **{
        f"table option {option}": ([A], [f"ALTER TABLE a {option}"])
        for option in (
            "STATS_PERSISTENT=1",
            "STATS_AUTO_RECALC=1",
            "STATS_SAMPLE_PAGES=9",
            "MAX_ROWS=9",
            "MIN_ROWS=9",
            "AVG_ROW_LENGTH=9",
            "CHECKSUM=1",
            "DELAY_KEY_WRITE=1",
            "PACK_KEYS=1",
        )
    },
    "tables that swap names in one statement": (
        [A, "INSERT INTO a VALUES (1, 10, 20)", "CREATE TABLE b (id INT PRIMARY KEY, x INT)"],
        ["RENAME TABLE a TO t, b TO a, t TO b", "UPDATE b SET v = 11", "CREATE TABLE c (n INT)"],
    ),
    "table that is swapped for a new one like it": (
        [A, "INSERT INTO a VALUES (1, 10, 20)", "CREATE VIEW s AS SELECT v FROM a"],
        [
            "CREATE TABLE a_new LIKE a",
            "INSERT INTO a_new SELECT id, v * 2, w FROM a",
            "RENAME TABLE a TO a_tmp, a_new TO a, a_tmp TO a_new",
            "DROP TABLE a_new",
        ],
    ),
    "both sides of a foreign key renamed": (
        [
            "CREATE TABLE p (Id INT PRIMARY KEY)",
            "CREATE TABLE c (id INT PRIMARY KEY, p_id INT, CONSTRAINT fk FOREIGN KEY (p_id) REFERENCES p (Id))",
        ],
        [
            "ALTER TABLE p RENAME COLUMN id TO pid",
            "ALTER TABLE c RENAME COLUMN p_id TO parent_id",
            "RENAME TABLE p TO q",
            "ALTER TABLE c ADD n INT",
        ],
    ),
    "foreign keys and the keys that were made with them": (
        [
            "CREATE TABLE p (id INT PRIMARY KEY, u INT UNIQUE)",
            "CREATE TABLE c (id INT PRIMARY KEY, a INT, b INT, p_id INT, q_id INT, UNIQUE KEY ua (a), KEY kb (b),"
            " CONSTRAINT fk FOREIGN KEY (p_id) REFERENCES p (id) ON DELETE CASCADE, KEY kab (a, b),"
            " CONSTRAINT fq FOREIGN KEY (q_id) REFERENCES p (u), KEY kba (b, a))",
            "INSERT INTO p VALUES (1, 1), (2, 2)",
            "INSERT INTO c VALUES (1, 1, 1, 1, 1), (2, NULL, 2, 2, 2)",
        ],
        [
            "ALTER TABLE c DROP FOREIGN KEY fk",
            "UPDATE c SET b = 3",
            "ALTER TABLE c DROP FOREIGN KEY fq, ADD KEY k (q_id, b)",
            "ALTER TABLE c DROP KEY kb",
        ],
    ),
    "letters that the script's character set has not, and others": (
        [
            "CREATE TABLE `zoé` (id INT PRIMARY KEY, `größe` INT, s VARCHAR(9) DEFAULT 'ł') DEFAULT CHARSET=utf8mb4",
            "INSERT INTO `zoé` VALUES (1, 2, 'ż')",
            "CREATE TABLE a (id INT PRIMARY KEY, `größe` INT, v INT, w INT, s VARCHAR(9) DEFAULT 'é')"
            " DEFAULT CHARSET=utf8mb4",
            "INSERT INTO a VALUES (1, 2, 3, 4, 'ż')",
            "CREATE TRIGGER t BEFORE DELETE ON a FOR EACH ROW UPDATE `zoé` SET s = 'ü'",
            "CREATE VIEW s AS SELECT `größe`, 'é' FROM a",
        ],
        [
            "SET NAMES latin1 COLLATE latin1_german1_ci",
            "ALTER TABLE a DROP COLUMN v",
            "DELETE FROM a",
            "SET CHARACTER SET latin1, character_set_results = NULL",
            "ALTER TABLE a DROP COLUMN s",
            "SET NAMES utf8mb4",
        ],
    ),
    "MySQL: keys that the server adds": (
        [
            "CREATE TABLE a (v VARCHAR(9), w INT)",
            "INSERT INTO a VALUES ('x', 1), ('x', 1), ('X', 2)",
            "SET SESSION sql_generate_invisible_primary_key = 1",
            "CREATE TABLE b (v VARCHAR(9), w INT)",
            "INSERT INTO b VALUES ('x', 1), ('x', 1), ('X', 2)",
            "SET SESSION sql_generate_invisible_primary_key = 0",
        ],
        [
            "SET SESSION sql_generate_invisible_primary_key = 1",
            "ALTER TABLE b DROP w",
            "UPDATE b SET v = 'z'",
            "ALTER TABLE b DROP PRIMARY KEY, DROP my_row_id, ADD id INT AUTO_INCREMENT PRIMARY KEY FIRST",
            "ALTER TABLE a MODIFY v CHAR(1)",
            "DROP TABLE a",
            "CREATE TABLE a (n INT)",
            "INSERT INTO a VALUES (1)",
            "SET SESSION sql_generate_invisible_primary_key = 0",
        ],
    ),
    "views on views on views": (
        [
            "CREATE TABLE p (id INT PRIMARY KEY)",
            "CREATE TABLE c (id INT PRIMARY KEY)",
            "CREATE VIEW v1 AS SELECT p.id, c.id AS c_id FROM p JOIN c ON c.id = p.id",
            "CREATE VIEW v2 AS SELECT id FROM v1",
            "CREATE VIEW v3 AS SELECT v2.id FROM v2 JOIN p ON p.id = v2.id",
        ],
        ["DROP TABLE c", "DROP TABLE p"],
    ),
    "quotes in names": (
        [
            "CREATE TABLE p (`a`` b` INT PRIMARY KEY, `a``` INT, b INT DEFAULT 1, KEY `k``` (b))",
            "INSERT INTO p VALUES (1, 2, 3)",
            "CREATE TABLE c (id INT PRIMARY KEY, CONSTRAINT `f``` FOREIGN KEY (id) REFERENCES p (`a`` b`))",
        ],
        [
            "ALTER TABLE p CHANGE `a`` b` ```c` INT, DROP KEY `k```",
            "ALTER TABLE p RENAME COLUMN `a``` TO `b```, RENAME COLUMN b TO `a```",
            "ALTER TABLE c DROP FOREIGN KEY `f```",
        ],
    ),
    "DROP TABLES": ([A, "INSERT INTO a VALUES (1, 10, 20)", "CREATE TABLE b (n INT)"], ["DROP TABLES b, a"]),
    "MariaDB: statements in comments": (
        [A, "INSERT INTO a VALUES (1, 10, 20), (2, 30, 40)"],
        [
            "ALTER TABLE a DROP COLUMN v",
            "ALTER TABLE a /*M!100100 DROP COLUMN w */",
            "/*M! DROP TABLE a */",
        ],
    ),
    "temporary table that hides one": (
        [A.replace("a (", "seen ("), "INSERT INTO seen VALUES (1, 10, 20)"],
        [
            "CREATE TABLE b (n INT)",
            "CREATE TEMPORARY TABLE seen (id INT, v INT)",
            "INSERT INTO seen VALUES (5, 5)",
            "UPDATE seen SET v = 6",
            "ALTER TABLE b ADD m INT",
            "ALTER TABLE seen DROP v",
            "DROP TEMPORARY TABLE seen",
            "UPDATE seen SET v = 7",
            "CREATE TEMPORARY TABLE seen (id INT)",
            "DROP TABLE seen",
            "CREATE TEMPORARY TABLE seen (id INT)",
            "ALTER TABLE b ADD x INT",
        ],
    ),
    "order of triggers of another definer": (
        [
            A,
            "INSERT INTO a VALUES (1, 10, 20)",
            "CREATE TRIGGER t0 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2",
            "CREATE DEFINER=someone@localhost TRIGGER t1 BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 3 + 1",
            "CREATE TRIGGER `for each row` BEFORE INSERT ON a FOR EACH ROW FOLLOWS t0 SET NEW.v = NEW.v + 5",
        ],
        ["UPDATE a SET v = 5", "ALTER TABLE a DROP COLUMN w"],
    ),
    "character sets and time zone of sessions": (
        [
            A,
            "SET NAMES latin1 COLLATE latin1_german1_ci, time_zone = '+09:00'",
            "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DISABLE DO DELETE FROM user",
            "CREATE VIEW s AS SELECT v, 'x' AS x FROM a",
            "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.v = 'x' < 'X'",
            "CREATE PROCEDURE p() SELECT 'x' < 'X'",
            "SET NAMES utf8mb4, time_zone = DEFAULT",
        ],
        ["DROP EVENT e", "DROP VIEW s", "DROP TRIGGER t", "DROP PROCEDURE p"],
    ),
    "renamed event": (
        ["CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DISABLE DO DELETE FROM user"],
        ["ALTER EVENT e RENAME TO f", "ALTER EVENT f ON SCHEDULE EVERY 2 YEAR STARTS '2037-01-01'"],
    ),
    "order of triggers": (
        [A, *(f"CREATE TRIGGER t{n} BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v * 2 + {n}" for n in range(4))],
        ["DROP TRIGGER t3", "DROP TRIGGER t1", "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.w = 1"],
    ),
    "backslash that escapes nothing": (
        ["CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(20), v INT)", r"INSERT INTO a VALUES (1, 'C:\\', 10)"],
        [
            "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'",
            "ALTER TABLE a MODIFY s VARCHAR(20) DEFAULT 'C:\\', DROP COLUMN v, ADD w INT DEFAULT '5'",
        ],
    ),
    "whole rows of a table with foreign keys and triggers": (
        [
            "CREATE TABLE p (id VARCHAR(9) PRIMARY KEY, n INT)",
            "CREATE TABLE c (id INT PRIMARY KEY, n INT, FOREIGN KEY (n) REFERENCES c (id) ON DELETE CASCADE)",
            "CREATE TABLE l (n INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(9))",
            "CREATE TRIGGER d AFTER DELETE ON p FOR EACH ROW INSERT INTO l (what) VALUES (OLD.id)",
            "INSERT INTO p VALUES ('01', 1), ('2 ', 2)",
            "INSERT INTO c VALUES (1, NULL), (2, 1)",
        ],
        ["ALTER TABLE p MODIFY id DECIMAL(9, 1)", "ALTER TABLE c CONVERT TO CHARACTER SET latin1", "DELETE FROM c"],
    ),
    **{
        f"primary key cast from {before} to {after}": (
            [f"CREATE TABLE a (id {before} PRIMARY KEY, s VARCHAR(9))", f"INSERT INTO a VALUES ({value}, 'x')"],
            [f"ALTER TABLE a MODIFY id {after}", "UPDATE a SET s = 'y'"],
        )
        for before, after, value in (
            ("DECIMAL(10, 2)", "INT", "1.25"),
            ("DATETIME(6)", "DATETIME", "'2001-02-03 04:05:06.123456'"),
            ("VARCHAR(9)", "INT", "'007'"),
            ("BIGINT UNSIGNED", "DECIMAL(20)", "18446744073709551615"),
        )
    },
    "primary key of two columns cast": (
        [
            "CREATE TABLE a (x VARCHAR(9), y INT, v INT, PRIMARY KEY (x, y))",
            "INSERT INTO a VALUES ('01', 1, 10), ('1', 2, 20)",
        ],
        ["ALTER TABLE a MODIFY x INT, MODIFY v VARCHAR(9)", "ALTER TABLE a DROP v, DROP x, DROP PRIMARY KEY"],
    ),
    "columns renamed and cast": (
        [
            "CREATE TABLE a (id INT PRIMARY KEY, d DATETIME, v INT, UNIQUE KEY k (v))",
            "INSERT INTO a VALUES (1, NOW(), 5)",
        ],
        ["ALTER TABLE a DROP KEY k, CHANGE d n DATE, CHANGE v d CHAR(9)", "UPDATE a SET d = 7"],
    ),
    "zero in a key that becomes AUTO_INCREMENT": (
        [A, "INSERT INTO a VALUES (0, 10, 20), (7, 8, 9)"],
        ["ALTER TABLE a MODIFY id INT AUTO_INCREMENT"],
    ),
    "exchanged partition": (
        [
            "CREATE TABLE a (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id)"
            " (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))",
            "CREATE TABLE b (id INT PRIMARY KEY, v INT)",
            "INSERT INTO a VALUES (1, 1), (2, 2), (11, 11)",
            "INSERT INTO b VALUES (1, 100), (3, 300)",
        ],
        [  # without autocommit MariaDB 10.11 waits for a lock of its own session
            "SET SESSION autocommit = 1",
            "ALTER TABLE a EXCHANGE PARTITION p0 WITH TABLE b",
            "SET SESSION autocommit = 0",
        ],
    ),
    "dropped partition": (
        [
            "CREATE TABLE a (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id)"
            " (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))",
            "INSERT INTO a VALUES (1, 1), (2, 2), (11, 11)",
        ],
        ["ALTER TABLE a TRUNCATE PARTITION p1", "ALTER TABLE a DROP PARTITION p0"],
    ),
    "MariaDB: rows that IGNORE takes": (
        [A, "INSERT INTO a VALUES (1, 10, 20), (2, 10, 30)"],
        ["ALTER IGNORE TABLE a ADD UNIQUE KEY u (v)", "UPDATE a SET w = 5", "CREATE TABLE b (n INT)"],
    ),
    "table without a key": (
        ["CREATE TABLE a (v VARCHAR(9), w INT)", "INSERT INTO a VALUES ('x', 1), ('x', 1), ('X', 2)"],
        ["ALTER TABLE a DROP w, MODIFY v CHAR(1), ADD id INT AUTO_INCREMENT PRIMARY KEY"],
    ),
    "key with a part of a text": (
        ["CREATE TABLE a (s TEXT, v INT, PRIMARY KEY (s(10)))", "INSERT INTO a VALUES ('x', 1), ('y', 2)"],
        ["ALTER TABLE a DROP v"],
    ),
    "renamed by what casts": (
        [A, "INSERT INTO a VALUES (1, 1, 20)"],
        ["ALTER TABLE a MODIFY v CHAR(1), RENAME TO b", "ALTER TABLE b MODIFY id VARCHAR(9), RENAME TO c"],
    ),
    "column that becomes a generated one": (
        [A, "INSERT INTO a VALUES (1, 10, 20)"],
        ["ALTER TABLE a MODIFY v INT GENERATED ALWAYS AS (w * 2) STORED"],
    ),
    "NULL where there may be none": (
        ["CREATE TABLE a (id INT PRIMARY KEY, v INT, at TIMESTAMP NULL)", "INSERT INTO a VALUES (1, NULL, NULL)"],
        ["SET SESSION sql_mode = ''", "ALTER TABLE a MODIFY v INT NOT NULL, MODIFY at TIMESTAMP NOT NULL"],
    ),
    "MariaDB: NULL that becomes now": (
        ["CREATE TABLE a (id INT PRIMARY KEY, at TIMESTAMP NULL)", "INSERT INTO a VALUES (1, NULL)"],
        ["ALTER TABLE a MODIFY at TIMESTAMP NOT NULL"],
    ),
    "another character set in a loose sql_mode": (
        [
            "CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(9)) DEFAULT CHARSET=utf8mb4",
            "INSERT INTO a VALUES (1, _utf8mb4 X'C5BC')",
        ],
        ["SET SESSION sql_mode = ''", "ALTER TABLE a MODIFY s VARCHAR(9) CHARACTER SET latin1"],
    ),
    "values of ENUM in a loose sql_mode": (
        ["CREATE TABLE a (id INT PRIMARY KEY, s ENUM('x', 'y'))", "INSERT INTO a VALUES (1, 'y')"],
        ["SET SESSION sql_mode = ''", "ALTER TABLE a MODIFY s ENUM('x')"],
    ),
    "settings that limit statements": (
        [A, "INSERT INTO a VALUES (1, 10, 20), (2, 30, 40), (3, 50, 60)"],
        [
            "SET SESSION sql_select_limit = 1, sql_safe_updates = 1",
            "UPDATE a SET w = w + 1 WHERE id > 0",
            "ALTER TABLE a DROP COLUMN v",
            "DROP TABLE a",
            "SET SESSION sql_select_limit = DEFAULT, sql_safe_updates = 0",
        ],
    ),
    "MySQL: no table without a primary key": (
        [A, "INSERT INTO a VALUES (1, 1, 20), (2, 3, 40)"],
        [
            "SET SESSION sql_require_primary_key = 1",
            "ALTER TABLE a DROP COLUMN w",
            "ALTER TABLE a MODIFY v CHAR(1)",
            "ALTER TABLE a MODIFY id VARCHAR(9)",
            "UPDATE a SET v = 1",
            "DROP TABLE a",
        ],
    ),
}


ROWS_FIRST = {
    "children deleted by a foreign key",
    "children set by a foreign key",
    "column renamed and cast, then written",
    "columns that pass on their names",
    "tables that swap names",
    "trigger of a renamed table",
    "WHERE in a subquery",
    "trigger that sets a column",
    "rows",
    "rows of a key",
    "rows and their column",
    "rows and their table",
    "percent, rows and name",
    "rows of a trigger",
    "new trigger and its rows",
    "rows of a view",
    "renamed parent, dropped child",
    "swapped unique values",
    "other sql_mode",
    "tables that swap names in one statement",
    "foreign keys and the keys that were made with them",
    "letters that the script's character set has not, and others",
    "MySQL: keys that the server adds",
    "order of triggers of another definer",
    "MariaDB: rows that IGNORE takes",
    "settings that limit statements",
    "MySQL: no table without a primary key",
}
"""Cases that change existing rows before a DDL statement: `backfill-with-ddl` stops them."""

NOT_COVERED = {"exchanged partition", "temporary table that hides one"}
"""Cases whose rows are not restored, as the README says; the message names a statement."""


SAVED = {
    "another character set without a key",
    "column of the primary key",
    "key with a part of a text",
    "whole rows of a table with foreign keys and triggers",
    "zero in a key that becomes AUTO_INCREMENT",
    "table without a key",
    "renamed by what casts",
    "primary key of two columns cast",
    "primary key cast from DECIMAL(10, 2) to INT",
    "primary key cast from DATETIME(6) to DATETIME",
    "primary key cast from VARCHAR(9) to INT",
    "primary key cast from BIGINT UNSIGNED to DECIMAL(20)",
}
"""Cases in which no key finds the rows again: they come back, and what was there is saved in a table that is named."""

TIMES_OF_MARIADB = {"NULL where there may be none", "MariaDB: NULL that becomes now"}
"""Cases in which MariaDB stored the time when it cast a column: the rows are saved unless that is the same second."""


class Home:
    """A project and a database of its own, for many tests that leave it as it was."""

    def __init__(self, folder: Path, schema: list[str]) -> None:
        self.schema = schema
        self.project = copied(folder)
        self.server = server_url("mysql")
        self.url = self.server.set(database=f"test_{uuid4().hex}")
        url = self.url.render_as_string(hide_password=False)
        self.app = make_app(url)
        self.engine = create_engine(url)
        self.is_clean = False

    def upgrade(self, body: str) -> list[str]:
        """Run a revision whose upgrade() is this Python; return what it says if it fails."""
        self.project.write(*revision("a1", FIRST, body))
        with self.app.app_context():
            try:
                flask_migrate.upgrade(directory=str(self.project.path / "migrations"))
            except (Exception, SystemExit) as raised:
                return told_by(raised)
            finally:
                db.engine.dispose()
        return []

    def clean(self) -> None:
        """Create the database again, unless the last test left it as it was."""
        if not self.is_clean:
            self.drop()
            run_on_server(self.server, f"CREATE DATABASE {self.url.database}")
            assert [] == self.upgrade("pass")
            with self.engine.begin() as connection:
                run(connection, [*self.schema, f"UPDATE alembic_version SET version_num = '{FIRST}'"])
            self.before = state(self.engine)
        self.is_clean = False

    def drop(self) -> None:
        """Drop the database."""
        self.engine.dispose()
        run_on_server(self.server, f"DROP DATABASE IF EXISTS {self.url.database}")


@pytest.fixture(scope="module")
def home_with_schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose database has SCHEMA too."""
    home = Home(tmp_path_factory.mktemp("schema"), SCHEMA)
    yield home
    home.drop()


@pytest.fixture(scope="module")
def home_without(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose database is at the first revision."""
    home = Home(tmp_path_factory.mktemp("bare"), [])
    yield home
    home.drop()


def prepared(home: Home, tables: list[str]) -> dict[str, object]:
    """Return the state of the database at the first revision with these tables."""
    home.clean()
    with home.engine.begin() as connection:
        run(connection, tables)
    return state(home.engine) if tables else home.before


def skip_other_product(name: str, url: URL) -> None:
    """Skip the test if its name begins with the other product."""
    if name.startswith("MySQL" if is_mariadb(url) else "MariaDB"):
        pytest.skip("only for the other product")


@pytest.fixture
def bare(database: str, attempt: Callable[..., list[str]]) -> Iterator[Engine]:
    """Looks at the database, which is at the first revision."""
    assert [] == attempt(flask_migrate.upgrade)
    engine = create_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(bare: Engine) -> Engine:
    """Looks at the database, which has SCHEMA too."""
    with bare.begin() as connection:
        run(connection, SCHEMA)
    return bare


def run(connection: Connection, statements: list[str]) -> None:
    """Run each as it stands."""
    for statement in statements:
        connection.exec_driver_sql(statement.replace("%", "%%"))


def clear(engine: Engine) -> None:
    """Back to the first revision, with nothing beside it."""
    with engine.begin() as connection:
        run(connection, ["SET foreign_key_checks = 0", f"UPDATE alembic_version SET version_num = '{FIRST}'"])
        for name, kind in connection.exec_driver_sql("SHOW FULL TABLES").all():
            if name not in ("user", "alembic_version"):
                run(connection, [f"DROP {kind if kind in ('VIEW', 'SEQUENCE') else 'TABLE'} `{name}`"])
        for row in connection.exec_driver_sql("SHOW EVENTS").all():
            run(connection, [f"DROP EVENT `{row[1]}`"])
        for name in ("PROCEDURE count_pets", "PROCEDURE p", "FUNCTION give_one"):
            run(connection, [f"DROP {name.split()[0]} IF EXISTS {name.split()[1]}"])
        run(connection, ["SET foreign_key_checks = 1"])


def state(engine: Engine) -> dict[str, object]:
    """Each object's SHOW CREATE, but for the counter, which follows the rows, and each table's rows."""
    found: dict[str, object] = {}
    with engine.connect() as connection:

        def ask(statement: str) -> Any:
            return connection.exec_driver_sql(statement.replace("%", "%%"))

        for name, kind in ask("SHOW FULL TABLES").all():
            _, shown, *charset = ask(f"SHOW CREATE TABLE `{name}`").one()
            found[name] = re.sub(r" AUTO_INCREMENT=\d+", "", shown), charset
            if kind == "BASE TABLE":
                found[f"rows of {name}"] = sorted(map(repr, ask(f"SELECT * FROM `{name}`")))
        for kind in ("TRIGGERS", "PROCEDURE STATUS WHERE db = DATABASE()", "FUNCTION STATUS WHERE db = DATABASE()"):
            for row in ask(f"SHOW {kind}").all():
                name, what = (row[1], kind.split()[0]) if "STATUS" in kind else (row[0], "TRIGGER")
                found[name] = ask(f"SHOW CREATE {what} `{name}`").one()[1:5]
        for row in ask("SHOW EVENTS").all():
            found[row[1]] = ask(f"SHOW CREATE EVENT `{row[1]}`").one()[1:6]
        found["order of triggers"] = ask(
            "SELECT trigger_name, action_order FROM information_schema.triggers"
            " WHERE trigger_schema = DATABASE() ORDER BY 1"
        ).all()
    return found


def script(statements: list[str], end: str = "raise RuntimeError('stop')") -> str:
    """Python that runs them, and ``end``."""
    return "\n".join(
        [f"op.get_bind().exec_driver_sql({statement.replace('%', '%%')!r})" for statement in statements] + [end]
    )


@pytest.fixture
def upgrade(project: Project, attempt: Callable[..., list[str]]) -> Callable[[str], list[str]]:
    """Runs a revision whose upgrade is this Python; what it says of its failure."""

    def run(body: str) -> list[str]:
        project.write(*revision("a1", FIRST, body))
        return attempt(flask_migrate.upgrade)

    return run


def drop_saved(engine: Engine, told: list[str]) -> set[str]:
    """Drop the saved tables, which all have to be named, once; return the tables whose rows they have."""
    pattern = r"(?:rows written to the new table|by other sessions to) (\w+); .+ in the table (_migration_saved_\w+)"
    named = re.findall(pattern, "\n".join(told))
    with engine.begin() as connection:
        found = [name for (name, _) in connection.exec_driver_sql("SHOW FULL TABLES") if "_migration_saved_" in name]
        assert sorted(found) == sorted(name for _, name in named), told
        run(connection, [f"DROP TABLE {name}" for name in found])
    return {table for table, _ in named}


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in ROWS_FIRST])
def test_change(home_with_schema: Home, backend: str, name: str) -> None:
    """Each change is undone, text for text and row for row, and nothing of the journal remains."""
    home = home_with_schema
    before = prepared(home, [])
    stop, *told = home.upgrade(script(CHANGES[name]))
    assert ("stop", name in SAVED) == (stop, bool(drop_saved(home.engine, told))), told
    assert before == state(home.engine)
    home.is_clean = True


@pytest.mark.parametrize("name", [name for name in OWN if name not in ROWS_FIRST | NOT_COVERED])
def test_change_of_other_tables(home_without: Home, backend: str, name: str) -> None:
    """So is each change of these tables; or it goes through, and nothing of the journal remains.

    Rows are saved that the app may have written: of a table that took the place of another one, and where no key finds
    rows again. A case whose name begins with a product is for that one only.
    """
    home = home_without
    skip_other_product(name, home.server)
    tables, statements = OWN[name]
    before = prepared(home, tables)
    stop, *told = home.upgrade(script(statements))
    saved = drop_saved(home.engine, told)
    assert ("stop", len(told)) == (stop, len(saved))
    is_saved = "swapped for a new one" in name or name in SAVED
    assert bool(saved) == is_saved or name in TIMES_OF_MARIADB, told
    assert before == state(home.engine)
    assert [] == home.upgrade(script(statements, "pass"))
    assert [] == [found for found in state(home.engine) if "_migration_" in found]
    clear(home.engine)
    home.is_clean = home.before == state(home.engine)


@pytest.mark.parametrize("name", sorted(ROWS_FIRST | NOT_COVERED))
def test_rows_before_ddl(home_with_schema: Home, home_without: Home, backend: str, name: str) -> None:
    """Rows that change before a DDL statement stop an upgrade. If the review is off, their statements are named, and
    all texts are restored.
    """
    home = home_with_schema if name in CHANGES else home_without
    skip_other_product(name, home.server)
    tables, statements = ([], CHANGES[name]) if name in CHANGES else OWN[name]
    before = prepared(home, tables)
    if name in ROWS_FIRST:
        home.app.config["MIGRATION_REVIEW"] = "enforce"
        (error,) = home.upgrade(script(statements))
        home.app.config["MIGRATION_REVIEW"] = "off"
        assert "(backfill-with-ddl)" in error
        assert before == state(home.engine)
    stop, *told = home.upgrade(script(statements))
    assert "stop" == stop
    assert told
    rows = [line for line in told if line.startswith("Could not be restored: rows changed by this statement: ")]
    assert len(told) == len(rows) + len(drop_saved(home.engine, told))
    assert texts_of(before) == texts_of(state(home.engine))


def texts_of(found: dict[str, object]) -> dict[str, object]:
    """Return a state without rows."""
    return {name: what for name, what in found.items() if not name.startswith("rows of ")}


def test_several_statements_on_a_table(upgrade: Callable[[str], list[str]], engine: Engine) -> None:
    """All changes of one revision to a table are undone, in any order of the statements."""
    before = state(engine)
    steps = [
        "ALTER TABLE gift ADD COLUMN a INT FIRST",
        "CREATE INDEX ix_a ON gift (a, code)",
        "CREATE TABLE fresh (id INT PRIMARY KEY, gift_id INT)",
        "ALTER TABLE gift CHANGE code mark VARCHAR(9)",
        "ALTER TABLE gift ADD COLUMN fresh_id INT AFTER mark",
        "ALTER TABLE gift ADD CONSTRAINT fk_fresh FOREIGN KEY (fresh_id) REFERENCES fresh (id)",
        "ALTER TABLE fresh ADD COLUMN mark INT, ADD INDEX ix_mark (mark)",
        "INSERT INTO fresh VALUES (1, 1, 2)",
        "ALTER TABLE fresh ADD CONSTRAINT fk_gift FOREIGN KEY (gift_id) REFERENCES gift (id)",
        "DROP INDEX ix_a ON gift",
        "ALTER TABLE gift DROP COLUMN name",
        "ALTER TABLE gift ADD COLUMN name INT, ADD INDEX ix_name (name), COMMENT = 'mine'",
        "ALTER TABLE fresh RENAME TO newer",
        "ALTER TABLE newer ADD COLUMN b INT",
        "CREATE INDEX ix_b ON newer (b)",
        "ALTER TABLE gift ADD INDEX ix_mark (mark)",
    ]
    for last in range(1, len(steps) + 1):
        assert (last, ["stop"]) == (last, upgrade(script(steps[:last])))
        assert (last, before) == (last, state(engine))


def test_a_table_that_is_made_at_the_second_try(upgrade: Callable[[str], list[str]], engine: Engine) -> None:
    """A table that a script creates after a first CREATE TABLE failed is dropped by the undo."""
    before = state(engine)
    bad, good = "CREATE TABLE fresh (id INT, id INT)", "CREATE TABLE fresh (id INT)"
    body = f"try:\n    op.get_bind().exec_driver_sql({bad!r})\nexcept sa.exc.DBAPIError:\n    pass"
    assert ["stop"] == upgrade(f"{body}\n{script([good, 'ALTER TABLE fresh ADD COLUMN a INT'])}")
    assert before == state(engine)


def test_inspector(upgrade: Callable[[str], list[str]], engine: Engine) -> None:
    """A script may change every table that an inspector lists, also those of the run, and is undone."""
    before = state(engine)
    names = sorted(inspect(engine).get_table_names())
    body = (
        "op.drop_column('gift', 'n')\n"
        "names = sorted(sa.inspect(op.get_bind()).get_table_names())\n"
        "tables = sa.MetaData()\ntables.reflect(op.get_bind())\n"
        f"assert {names!r} == [name for name in names if not name.startswith('_migration_')]\n"
        "for name in names:\n    op.add_column(name, sa.Column('tenant', sa.Integer()))\n"
    )
    assert ["stop"] == upgrade(f"{body}raise RuntimeError('stop')")
    assert before == state(engine)
    assert [] == upgrade(body)
    assert {"tenant"} <= {column["name"] for column in inspect(engine).get_columns("log")}


def test_what_others_write(upgrade: Callable[[str], list[str]], engine: Engine) -> None:
    """What the app writes while a revision runs that fails later stays: new rows, changed ones, deleted ones.

    In a cast column the old values come back, and a table that is named has those in their place.
    """
    changes = ["ALTER TABLE pet DROP CONSTRAINT ck_price, MODIFY price DECIMAL(9, 1), DROP COLUMN notes"]
    body = script(changes, "") + (
        "\nengine = op.get_bind().engine\n"
        "with engine.begin() as connection:\n"
        "    connection.exec_driver_sql(\"UPDATE pet SET name = 'other', price = 7 WHERE id = 1\")\n"
        "    connection.exec_driver_sql(\"INSERT INTO pet (id, name, price) VALUES (9, 'Zoe', 3)\")\n"
        "    connection.exec_driver_sql('DELETE FROM pet WHERE id = 2')\n"
        "raise RuntimeError('stop')"
    )
    stop, told = upgrade(body)
    found = re.search(r"by other sessions to pet; its rows before the undo are in the table (\w+)", told)
    assert ("stop", True) == (stop, found is not None), told
    assert found
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id, name, price, notes FROM pet ORDER BY id").all()
        saved = connection.exec_driver_sql(f"SELECT id, price FROM {found[1]} ORDER BY id").all()
    price = Decimal("1.2345")
    assert [(1, "other", price, "good"), (5, "tom", Decimal("9999.9999"), "%s %% {x}"), (9, "Zoe", 3, None)] == rows
    assert [(1, 7), (5, 10000), (9, 3)] == saved


def test_values_that_nobody_wrote(upgrade: Callable[[str], list[str]], engine: Engine) -> None:
    """Of a long revision whose last step fails after a type change, nothing is said and nothing remains."""
    body = """
        op.add_column("pet", sa.Column("slug", sa.String(80)))
        op.add_column("pet", sa.Column("views", sa.Integer(), server_default="0", nullable=False))
        op.create_index("ix_slug", "pet", ["slug"])
        op.drop_constraint(op.f("ck_price"), "pet", type_="check")
        op.alter_column("pet", "price", type_=sa.String(3), existing_type=sa.Numeric(9, 4))
        op.alter_column("pet", "notes", new_column_name="remarks", type_=sa.String(9), existing_type=sa.Text())
        op.create_table("tag", sa.Column("id", sa.Integer(), primary_key=True))
        op.create_index("ix_remarks", "pet", ["remarks"])
        op.create_unique_constraint("uq_views", "pet", ["views"])
    """
    before = state(engine)
    (error,) = upgrade(f"op.execute(\"SET SESSION sql_mode = ''\")\n{dedent(body)}")
    assert "Duplicate entry '0' for key" in error
    assert before == state(engine)
    assert [] == upgrade("op.add_column('pet', sa.Column('slug', sa.String(80)))")


def test_concurrent_writers(upgrade: Callable[[str], list[str]], engine: Engine) -> None:
    """Sessions that write all the time, while the revision runs and while it is undone, lose nothing."""
    stop, written, errors = threading.Event(), [0] * 3, []

    def write(number: int) -> None:
        row, count = 100 + number, 0
        while not stop.is_set():
            try:
                with engine.begin() as connection:
                    connection.exec_driver_sql(f"INSERT INTO pet (id, price) VALUES ({row}, {number + 1})")
                count += 1
                row += 3
            except Exception as error:
                if "1205" not in str(error) and "1412" not in str(error) and "1213" not in str(error):
                    errors.append(error)
        written[number] = count

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(written))]
    for thread in threads:
        thread.start()
    changes = [
        "ALTER TABLE pet ADD age INT",
        "ALTER TABLE pet DROP CONSTRAINT ck_price, MODIFY price DECIMAL(9, 1)",
        "ALTER TABLE pet DROP COLUMN notes",
    ]
    told = upgrade(script([*changes, "DO SLEEP(0.5)"]))
    stop.set()
    for thread in threads:
        thread.join()
    assert (["stop"], []) == (told, errors)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id, price, notes FROM pet WHERE id < 100 ORDER BY id").all()
        count = connection.exec_driver_sql("SELECT COUNT(*) FROM pet WHERE id >= 100 AND price IN (1, 2, 3)").scalar()
    assert [(1, Decimal("1.2345"), "good"), (2, None, None), (5, Decimal("9999.9999"), "%s %% {x}")] == rows
    assert (True, sum(written)) == (sum(written) > 0, count)


def test_what_others_write_to_a_cast_key(upgrade: Callable[[str], list[str]], bare: Engine) -> None:
    """Where rows got other keys, those of before come back; what others wrote meanwhile is in a table that is named."""
    with bare.begin() as connection:
        run(connection, ["CREATE TABLE a (id VARCHAR(9) PRIMARY KEY, v INT)"])
        run(connection, ["INSERT INTO a VALUES ('01', 1), ('02', 2), ('003', 3)"])
    body = script(["ALTER TABLE a MODIFY id INT"], "") + (
        "\nwith op.get_bind().engine.begin() as connection:\n"
        "    connection.exec_driver_sql('UPDATE a SET v = 20 WHERE id = 2')\n"
        "    connection.exec_driver_sql('INSERT INTO a VALUES (9, 9)')\n"
        "raise RuntimeError('stop')"
    )
    stop, told = upgrade(body)
    what = "possible changes by other sessions to a; its rows before the undo are in the table "
    found = re.fullmatch(rf"Could not be restored: {what}(\w+)\.", told)
    assert ("stop", True) == (stop, found is not None), told
    assert found
    with bare.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id, v FROM a ORDER BY v").all()
        saved = connection.exec_driver_sql(f"SELECT id, v FROM {found[1]} ORDER BY v").all()
    assert [("01", 1), ("02", 2), ("003", 3)] == rows
    assert [(1, 1), (3, 3), (9, 9), (2, 20)] == saved


def test_no_primary_key(upgrade: Callable[[str], list[str]], engine: Engine) -> None:
    """Where rows cannot be told apart, what others wrote meanwhile is in a table, and the message names it."""
    body = script(["ALTER TABLE log DROP COLUMN what, ADD COLUMN n INT"], "") + (
        "\nwith op.get_bind().engine.begin() as connection:\n"
        "    connection.exec_driver_sql('INSERT INTO log VALUES (1)')\n"
        "raise RuntimeError('stop')"
    )
    first, second = upgrade(body), upgrade(body)
    assert "by other sessions to log; its rows before the undo are in the table _migration_saved_" in first[1]
    with engine.connect() as connection:
        saved = first[1].split("in the table ")[1].rstrip(".")
        assert [None, 1] == connection.exec_driver_sql(f"SELECT n FROM {saved} ORDER BY n").scalars().all()
        assert ["begin"] == connection.exec_driver_sql("SELECT what FROM log").scalars().all()
    assert first[1] != second[1]


def test_table_that_was_replaced(upgrade: Callable[[str], list[str]], engine: Engine) -> None:
    """What others wrote into a new table that had the name of a dropped one is in a table, and the message names it."""
    before = state(engine)
    body = script(["DROP TABLE measure", "CREATE TABLE measure (n INT)"], "") + (
        "\nwith op.get_bind().engine.begin() as connection:\n"
        "    connection.exec_driver_sql('INSERT INTO measure VALUES (7)')\n"
        "raise RuntimeError('stop')"
    )
    stop, told = upgrade(body)
    found = re.search(r"rows written to the new table measure; they are in the table (\w+)", told)
    assert (stop, found is not None) == ("stop", True), told
    assert found
    with engine.begin() as connection:
        assert [7] == connection.exec_driver_sql(f"SELECT n FROM {found[1]}").scalars().all()
        connection.exec_driver_sql(f"DROP TABLE {found[1]}")
    assert before == state(engine)


def test_what_cannot_be_undone(project: Project, engine: Engine) -> None:
    """If an object is not as it was, the run says which and why, and no run goes on before it is.

    What could be undone is not undone again: the app has written there meanwhile.
    """
    changes = ["DELETE FROM audit WHERE id = 2", "ALTER TABLE gift DROP COLUMN n", "CREATE TABLE t (id INT)"]
    body = script([*changes, "ALTER TABLE pet DROP KEY uq_tag"], "") + (
        "\nwith op.get_bind().engine.begin() as connection:\n"
        "    connection.exec_driver_sql(\"INSERT INTO pet (id, tag) VALUES (8, 'r')\")\n"
        "raise RuntimeError('stop')"
    )
    project.write(*revision("a1", FIRST, body))
    error = project.db("upgrade").stderr
    assert "RuntimeError: stop" in error
    assert "Could not be undone: changes to table pet (Duplicate entry 'r' for key" in error
    assert "Could not be restored: rows changed by this statement: DELETE FROM audit WHERE id = 2" in error
    with engine.begin() as connection:
        run(connection, ["UPDATE gift SET n = 70 WHERE id = 1", "CREATE TABLE t (of_others INT)"])
    again = project.db("upgrade")
    assert "DELETE FROM audit" not in again.stderr
    with engine.begin() as connection:
        assert [70, 8] == connection.exec_driver_sql("SELECT n FROM gift ORDER BY id").scalars().all()
        assert [] == connection.exec_driver_sql("SELECT of_others FROM t").all()
    assert (1, True) == (again.returncode, "SELECT kind, name, text FROM _migration_journal" in again.stderr)
    assert "half-way" in project.db("status").stdout
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM pet WHERE id = 8")
    project.write(*revision("a1", FIRST, "op.drop_index('ix_name', 'pet')"))
    project.ok("upgrade")
    assert "a1 (head)" in project.ok("current")


def test_rows_and_the_backup(project: Project, bare: Engine) -> None:
    """Of acknowledged rows before DDL, the message names the statement and the line that restores the backup."""
    with bare.begin() as connection:
        run(connection, [A, "INSERT INTO a VALUES (1, 10, 20)"])
    body = script(["UPDATE a SET v = v + 1 WHERE id = 1", "ALTER TABLE a ADD COLUMN m INT"])
    assured = "safety_assured = {'backfill-with-ddl': 'a test'}"
    project.write(*revision("a1", FIRST, body, more=assured))
    done = project.db("upgrade", MIGRATION_REVIEW="enforce", MIGRATION_BACKUP="always")
    assert 1 == done.returncode
    assert "Could not be restored: rows changed by this statement: UPDATE a SET v = v + 1 WHERE id = 1." in done.stderr
    assert re.search(r"flask db restore instance/backups/\S+", done.stderr), done.stderr


def wait_for_sleep(engine: Engine) -> None:
    """Until the server runs the DO SLEEP of a script, and so has done what stands before it."""
    query = text("SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'DO SLEEP%'")
    deadline = time.monotonic() + 20
    with engine.connect() as connection:
        while not connection.scalar(query) and time.monotonic() < deadline:
            time.sleep(0.05)


def test_killed(project: Project, engine: Engine) -> None:
    """After kill -9 the lock is held while the server still runs the last statement. The next run undoes the rest.

    Until then `status` reports it, and `check` and `rehearse` refuse. Afterwards `check` sees no table of this package.
    """
    before = state(engine)
    changes = ["ALTER TABLE pet DROP COLUMN notes", "DROP TABLE measure", "DO SLEEP(10)"]
    project.write(*revision("a1", FIRST, script(changes, "pass")))
    with project.start("flask", "db", "upgrade") as process:
        wait_for_sleep(engine)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert "another command holds the lock of this database" in project.db("-x", "lock_wait=0", "upgrade").stderr
    status = project.db("status")
    assert (1, True) == (status.returncode, "half-way  an upgrade or downgrade is in progress" in status.stdout)
    for command in ("check", "migrate", "rehearse"):
        done = project.db(command)
        assert (1, True) == (done.returncode, "Error: an upgrade or downgrade is " in done.stderr), done.stderr
    project.write(*revision("a1", FIRST, "pass"))
    told = project.ok("upgrade")
    assert re.search(rf"{UNDONE}.*table pet, table measure", told)
    assert {**before, "rows of alembic_version": ["('a1',)"]} == state(engine)
    with engine.begin() as connection:
        run(connection, ["CREATE TABLE _migration_saved_a (id INT PRIMARY KEY)"])
    told = project.db("check").stderr
    assert (True, False) == ("New upgrade operations detected" in told, "_migration_" in told)


def test_killed_later(project: Project, engine: Engine) -> None:
    """A run that is killed in its second revision keeps the first: what the journal had of that holds no more."""
    project.write(*revision("a1", FIRST, script(["ALTER TABLE pet DROP COLUMN notes", "CREATE TABLE t (a INT)"], "")))
    project.write(*revision("b1", "a1", script(["DO SLEEP(5)"], "pass")))
    with project.start("flask", "db", "upgrade") as process:
        wait_for_sleep(engine)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    before = state(engine)
    assert ["('a1',)"] == before["rows of alembic_version"]
    project.write(*revision("b1", "a1", "pass"))
    assert f"{UNDONE}no object" in project.ok("upgrade")
    after = {**state(engine), "rows of alembic_version": ["('a1',)"]}
    assert {name: what for name, what in before.items() if "_migration_" not in name} == after


@pytest.mark.parametrize(
    "name",
    [
        "tables that swap names in one statement",
        "table that is swapped for a new one like it",
        "primary key of two columns cast",
        "columns renamed and cast",
        "column unique",
        "column that counts",
        "column dropped, cast, and then its table dropped",
        "column dropped, and its name used again",
    ],
)
def test_killed_undo(home_without: Home, backend: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An undo that is killed too, before whichever of its statements, is finished by the next run."""

    class Killed(BaseException):
        """What ends a process asks nobody."""

    home, left = home_without, 0

    def killed(execute: Callable[..., Any], heads: str) -> Any:
        def counted(*args: Any) -> Any:
            nonlocal left
            left -= not args[0].startswith(("SELECT", "SHOW", "SET"))
            if left == 0:
                raise Killed
            return execute(*args)

        return undo(counted, heads)

    tables, statements = OWN[name]
    statements = [each for each in statements if not each.startswith(("UPDATE", "INSERT"))]
    before = prepared(home, tables)
    for number in range(1, 99):
        left = number
        monkeypatch.setattr("app.safe_migrations.adapters.mysql.journaling.undo", killed)
        try:
            told = home.upgrade(script(statements))
            assert told[0] == "stop"
            drop_saved(home.engine, told)
            break
        except Killed:
            monkeypatch.setattr("app.safe_migrations.adapters.mysql.journaling.undo", undo)
            told = home.upgrade("raise RuntimeError('stop')")
            if told != ["stop"]:
                assert name in SAVED, told
                assert drop_saved(home.engine, told)
                told = home.upgrade("raise RuntimeError('stop')")
            assert (number, ["stop"]) == (number, told)
            if name in SAVED:  # killed when all was done: that run cannot name the table any more
                with home.engine.begin() as connection:
                    run(connection, [f"DROP TABLE {table}" for table in state(home.engine) if "_saved_" in table[:17]])
        assert (number, before) == (number, state(home.engine))
    assert 5 < number < 98


@pytest.mark.parametrize("has_run", [True, False])
@pytest.mark.parametrize(
    "statement",
    [
        "RENAME TABLE a TO tmp, b TO a, tmp TO b",
        "RENAME TABLE a TO old, b TO a",
        "ALTER TABLE a RENAME TO c, ADD COLUMN n INT",
        "ALTER TABLE a DROP COLUMN v",
        "ALTER TABLE a CONVERT TO CHARACTER SET latin1",
        "DROP TABLE a",
        "TRUNCATE a",
        "CREATE TABLE c (n INT)",
        "MariaDB: CREATE OR REPLACE TABLE a (n INT)",
        f"MariaDB: {A.replace('TABLE', 'OR REPLACE TABLE')}",
    ],
)
def test_killed_statement(
    home_without: Home, backend: str, monkeypatch: pytest.MonkeyPatch, statement: str, has_run: bool
) -> None:
    """The next run finds out whether the statement that was under way when the process was killed has run."""
    skip_other_product(statement, home_without.server)
    home, statement = home_without, statement.removeprefix("MariaDB: ")
    before = prepared(
        home, [A, "INSERT INTO a VALUES (1, 10, 20)", "CREATE TABLE b (v INT)", "INSERT INTO b VALUES (5)"]
    )
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
        assert ["killed"] == home.upgrade(stop + script([statement]))
    left = state(home.engine)
    assert left["rows of _migration_journal"]
    assert (before != {name: what for name, what in left.items() if "_migration_" not in name}) == has_run
    told = home.upgrade("raise RuntimeError('stop')")
    if told != ["stop"]:
        assert ("REPLACE" in statement, drop_saved(home.engine, told)) == (True, {"a"})
        told = home.upgrade("raise RuntimeError('stop')")
    assert (["stop"], before) == (told, state(home.engine))


@pytest.mark.parametrize("end", ["raise RuntimeError('stop')", "import os\nos.kill(os.getpid(), 9)"])
def test_dropped_unique_column(project: Project, bare: Engine, end: str) -> None:
    """The model's own column, which is NOT NULL and unique, comes back with its values after an error and a kill -9."""
    with bare.begin() as connection:
        run(connection, ["INSERT INTO user (username, email) VALUES ('alice', 'a@b'), ('bob', 'b@b')"])
    before = state(bare)
    project.write(*revision("a1", FIRST, f"op.drop_column('user', 'username')\n{end}"))
    assert 0 != project.run("flask", "db", "upgrade").returncode
    if "kill" in end:
        assert before != state(bare)
    project.write(*revision("a1", FIRST, "pass"))
    said = project.ok("upgrade")
    assert ("kill" in end) == (f"{UNDONE}table user" in said), said
    assert {**before, "rows of alembic_version": ["('a1',)"]} == state(bare)


def test_lost(project: Project, engine: Engine) -> None:
    """If the session is lost while the server runs a statement, that is not overtaken: the next run undoes it all."""
    before = state(engine)
    project.write(*revision("a1", FIRST, script(["DROP TABLE measure", "DO SLEEP(6)", "DROP TABLE log"], "pass")))
    with project.start("flask", "db", "upgrade") as process:
        wait_for_sleep(engine)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate()
    assert (1, True) == (process.returncode, "the next upgrade or downgrade rolls them back" in errors)
    project.write(*revision("a1", FIRST, "pass"))
    assert f"{UNDONE}table measure" in project.ok("upgrade")
    assert {**before, "rows of alembic_version": ["('a1',)"]} == state(engine)


def test_table_of_others(upgrade: Callable[[str], list[str]], engine: Engine) -> None:
    """A table that others make meanwhile, under the name of one that the revision is about to make, is not ours."""
    body = (
        "with op.get_bind().engine.begin() as connection:\n"
        "    connection.exec_driver_sql('CREATE TABLE report AS SELECT 1 AS one')\n"
        "try:\n    op.create_table('report', sa.Column('two', sa.Integer()))\n"
        "except sa.exc.OperationalError:\n    pass\n"
        "op.drop_index('ix_name', 'pet')\nraise RuntimeError('stop')"
    )
    before = state(engine)
    assert ["stop"] == upgrade(body)
    with engine.connect() as connection:
        assert [1] == connection.exec_driver_sql("SELECT one FROM report").scalars().all()
        connection.exec_driver_sql("DROP TABLE report")
    assert before == state(engine)


def test_failed_rename(upgrade: Callable[[str], list[str]], engine: Engine) -> None:
    """A renaming that the server refuses has renamed nothing: the table of the new name stays what it is."""
    before = state(engine)
    for statement in (
        "RENAME TABLE missing TO log",
        "ALTER TABLE missing RENAME TO log",
        "RENAME TABLE log TO old, missing TO log",
    ):
        assert 1 == len(upgrade(script([statement])))
        assert before == state(engine)


COMPOUND_STATEMENTS = [
    "BEGIN NOT ATOMIC UPDATE gift SET n = 1; COMMIT; END",
    "IF 1 THEN UPDATE gift SET n = 1; COMMIT; END IF",
]


def test_sequence(upgrade: Callable[[str], list[str]], bare: Engine) -> None:
    """A table whose default is the next number of a sequence comes back after that; where it was, is told."""
    if not is_mariadb(bare.url):
        pytest.skip("only on MariaDB: MySQL has no sequences")
    with bare.begin() as connection:
        run(connection, ["CREATE SEQUENCE año", "CREATE TABLE a (id INT PRIMARY KEY, v INT DEFAULT NEXTVAL(año))"])
    before = state(bare)
    told = upgrade(script(["DROP TABLE a", "DROP SEQUENCE año"]))
    assert ["stop", "Could not be restored: the current value of the sequence año; set it with ALTER SEQUENCE."] == told
    assert before == state(bare)


def test_trigger_of_an_administrator(project: Project, bare: Engine) -> None:
    """A trigger of another user is out of the way of rows that come back, if it can be made again; if not, it stays."""
    user = f"u{uuid4().hex[:12]}"
    rights = "SUPER" if is_mariadb(bare.url) else "SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER"
    trigger = "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v + 1"
    with bare.begin() as connection:
        run(connection, [A, "INSERT INTO a VALUES (1, 10, 20)", trigger])
        run(connection, [f"CREATE USER '{user}' IDENTIFIED BY 'secret'", f"GRANT {rights} ON *.* TO '{user}'"])
        run(connection, [f"GRANT ALL ON `{bare.url.database}`.* TO '{user}'"])
    before = state(bare)
    try:
        project.environ["DATABASE_URL"] = bare.url.set(username=user, password="secret").render_as_string(False)
        project.write(*revision("a1", FIRST, script(["TRUNCATE a", "CREATE TABLE b (n INT)"])))
        told = project.db("upgrade").stderr
    finally:
        run_on_server(bare.url, f"DROP USER '{user}'")
    assert ("stop" in told, "Could not" in told) == (True, False), told
    rows = "[(1, 10, 20)]" if is_mariadb(bare.url) else "[(1, 11, 20)]"
    assert {**before, "rows of a": [rows[1:-1]]} == state(bare)


def test_without_transactions(project: Project, upgrade: Callable[[str], list[str]], bare: Engine) -> None:
    """Of a table that cannot roll back, the statements are named; after a kill only if a later one committed."""
    with bare.begin() as connection:
        run(connection, [A.replace("a (", "old (") + " ENGINE=MyISAM", A, "INSERT INTO old VALUES (1, 10, 20)"])
        run(connection, ["INSERT INTO a VALUES (1, 10, 20)"])
    for statements in (
        ["UPDATE old SET v = v + 1"],
        ["UPDATE old SET v = v + 1", "CREATE TABLE t (n INT)"],
        ["ALTER TABLE a ENGINE=MyISAM", "UPDATE a SET v = v + 1"],
    ):
        written = statements[1 if "ENGINE" in statements[0] else 0]
        what = f"rows changed by this statement: {written}"
        assert ["stop", f"Could not be restored: {what}."] == upgrade(script(statements))
        project.write(*revision("a1", FIRST, script(statements, "import os\nos.kill(os.getpid(), 9)")))
        project.run("flask", "db", "upgrade")
        assert (len(statements) > 1 and "CREATE" in statements[1]) == (
            what in project.run("flask", "db", "upgrade").stderr
        )


def test_out_of_sight(upgrade: Callable[[str], list[str]], engine: Engine) -> None:
    """What a routine or an autocommit block may have changed is told, and hinders no good revision."""
    before = state(engine)
    block = "with op.get_context().autocommit_block():\n    op.execute('UPDATE audit SET id = 1')\n"
    for body, what in (
        (script(["CALL count_pets()", "ALTER TABLE log ADD COLUMN n INT"], ""), "CALL count_pets()"),
        (block + script(["ALTER TABLE log ADD COLUMN n INT"], ""), "UPDATE audit SET id = 1"),
    ):
        told = upgrade(f"{body}\nraise RuntimeError('stop')")
        assert told[0] == "stop"
        assert any(f"rows changed by this statement: {what}" in line for line in told)
        assert before == state(engine)
    for statements in (
        ["SET SESSION autocommit = 1", "UPDATE audit SET id = 1"],
        COMPOUND_STATEMENTS[:1],
        COMPOUND_STATEMENTS[1:],
    ):
        if "autocommit" in statements[0] or is_mariadb(engine.url):
            told = upgrade(script(statements))
            assert any(f"rows changed by this statement: {statements[0]}" in line for line in told), told
            with engine.begin() as connection:
                run(connection, ["UPDATE gift SET n = id + 6"])
            assert before == state(engine)
    assert [] == upgrade(block + script(["ALTER TABLE log ADD COLUMN n INT"], "pass"))
    assert "_migration_journal" not in state(engine)


@pytest.mark.parametrize(
    "statement",
    [
        "ANALYZE UPDATE gift SET n = 1",
        "ANALYZE FORMAT=JSON DELETE FROM gift",
        "SET STATEMENT max_statement_time = 100 FOR ALTER TABLE gift DROP COLUMN n",
        "LOCK TABLES log WRITE, alembic_version WRITE",
        "SELECT RELEASE_ALL_LOCKS()",
    ],
)
def test_refused_statement(upgrade: Callable[[str], list[str]], engine: Engine, statement: str) -> None:
    """It is refused before it runs, and what the revision did before is undone."""
    before = state(engine)
    (error,) = upgrade(script(["DROP TABLE measure", statement]))
    assert f"because a failed revision could not be undone after it: {statement}" in error
    remedies = {"LOCK": "remove the LOCK statement", "SELECT": "release only your own lock"}
    assert f"Instead: {remedies.get(statement.split()[0], 'remove ANALYZE or SET STATEMENT')}" in error
    assert before == state(engine)


def test_failure_in_another_schema(upgrade: Callable[[str], list[str]], bare: Engine) -> None:
    """A statement on another schema is reported only if it succeeded."""
    other = f"other_{uuid4().hex}"
    run_on_server(bare.url, f"CREATE DATABASE {other}")
    try:
        create = f"CREATE TABLE {other}.made (id INTEGER PRIMARY KEY, note VARCHAR(400) DEFAULT {'x' * 300!r})"
        (error,) = upgrade(script([f"CREATE TABLE {other}.made (id INTEGER, id INTEGER)"]))
        assert "Duplicate column name 'id'" in error
        (error, told) = upgrade(script([create]))
        assert ("stop", True, True) == (error, told.startswith("Could not be restored: "), len(told) < 300)
    finally:
        run_on_server(bare.url, f"DROP DATABASE {other}")


def test_waiting_for_itself(project: Project, bare: Engine) -> None:
    """MariaDB waits for its own session in EXCHANGE PARTITION: the message says so, and gives a line that runs. A
    transaction in another database of the server is not blamed.
    """
    if not is_mariadb(bare.url):
        pytest.skip("only MariaDB waits")
    tables, (_, exchange, _) = OWN["exchanged partition"]
    with bare.begin() as connection:
        run(connection, tables)
    project.write(*revision("a1", FIRST, f"op.execute({exchange!r})"))
    elsewhere = create_engine(bare.url.set(database="mysql"))
    with elsewhere.connect() as other:
        other.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        done = project.db("upgrade", MIGRATION_LOCK_TIMEOUT="1", MIGRATION_LOCK_RETRIES="1")
    elsewhere.dispose()
    assert (1, True) == (done.returncode, "no other session holds a lock" in done.stderr), done.stderr
    line = "with op.get_context().autocommit_block():"
    assert line in done.stderr
    project.write(*revision("a1", FIRST, f"{line}\n    op.execute({exchange!r})"))
    project.ok("upgrade")
    with bare.connect() as connection:
        assert [1, 3] == sorted(connection.scalars(text("SELECT id FROM a WHERE id < 10")))
