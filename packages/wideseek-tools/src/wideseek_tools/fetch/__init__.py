"""Reading the open web from here, with every guard that a server-side reader needs."""
