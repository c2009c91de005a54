"""How tables and short answers become scores."""
