"""A scripted teacher for tasks that are made of tables, and invented tables to show it on."""
