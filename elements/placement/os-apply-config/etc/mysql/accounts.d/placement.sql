{{#placement.db-password}}
CREATE USER IF NOT EXISTS 'placement'@'%' IDENTIFIED BY '{{placement.db-password}}';
ALTER USER 'placement'@'%' IDENTIFIED BY '{{placement.db-password}}';
GRANT ALL PRIVILEGES ON `placement`.* TO 'placement'@'%';
{{/placement.db-password}}
