{{#keystone.db-password}}
CREATE USER IF NOT EXISTS 'keystone'@'%' IDENTIFIED BY '{{keystone.db-password}}';
ALTER USER 'keystone'@'%' IDENTIFIED BY '{{keystone.db-password}}';
GRANT ALL PRIVILEGES ON `keystone`.* TO 'keystone'@'%';
{{/keystone.db-password}}
