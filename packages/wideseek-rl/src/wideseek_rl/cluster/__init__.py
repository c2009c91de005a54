"""Where the processes of a run are: what is wanted, on which hosts and GPUs, and who starts it."""
