"""What people see in a terminal, and what the same is in a pipe."""
