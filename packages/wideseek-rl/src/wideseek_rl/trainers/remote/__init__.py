"""A trainer in processes of its own: the ranks, what they are asked, and what asks them."""
