"""The training loop and its parts: losses, optimizer, schedule, EMA, checkpoints, linear probe."""
