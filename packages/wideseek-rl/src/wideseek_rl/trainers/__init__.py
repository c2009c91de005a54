"""What holds the weights and updates them, and the loss that trains them."""
