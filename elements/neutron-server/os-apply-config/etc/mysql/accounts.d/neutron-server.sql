{{#neutron.db-password}}
CREATE USER IF NOT EXISTS 'neutron'@'%' IDENTIFIED BY '{{neutron.db-password}}';
ALTER USER 'neutron'@'%' IDENTIFIED BY '{{neutron.db-password}}';
GRANT ALL PRIVILEGES ON `neutron`.* TO 'neutron'@'%';
{{/neutron.db-password}}
