"""One archive with the whole database and the key files, which restores on SQLite and on PostgreSQL."""
