"""Intent, outbox and archive in SQL: the same tables in SQLite and PostgreSQL."""
