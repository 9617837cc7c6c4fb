{{#nova.db-password}}
CREATE USER IF NOT EXISTS 'nova'@'%' IDENTIFIED BY '{{nova.db-password}}';
ALTER USER 'nova'@'%' IDENTIFIED BY '{{nova.db-password}}';
GRANT ALL PRIVILEGES ON `nova`.* TO 'nova'@'%';
GRANT ALL PRIVILEGES ON `nova_api`.* TO 'nova'@'%';
GRANT ALL PRIVILEGES ON `nova_cell0`.* TO 'nova'@'%';
{{/nova.db-password}}
