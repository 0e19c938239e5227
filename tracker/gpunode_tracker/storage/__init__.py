"""The tracker's database: one module a concern, queries in SQLAlchemy Core that SQLite and PostgreSQL both run."""
