"""What is asked of a table, and what is right: recipes, and the tasks that are made of them."""
