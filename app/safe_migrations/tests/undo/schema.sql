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
INSERT INTO measure VALUES (1, 1, 10), (1, 2, 20);
