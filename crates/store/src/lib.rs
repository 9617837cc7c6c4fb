//! Connections, migrations, transactions and leases over one SQL database. It has no table of its own beyond those.
