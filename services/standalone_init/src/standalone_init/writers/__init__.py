"""The ECS services that write to the database: stopped for an upgrade, remembered, started again."""
