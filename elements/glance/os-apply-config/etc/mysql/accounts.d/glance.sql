{{#glance.db-password}}
CREATE USER IF NOT EXISTS 'glance'@'%' IDENTIFIED BY '{{glance.db-password}}';
ALTER USER 'glance'@'%' IDENTIFIED BY '{{glance.db-password}}';
GRANT ALL PRIVILEGES ON `glance`.* TO 'glance'@'%';
{{/glance.db-password}}
