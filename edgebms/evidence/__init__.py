"""What can be asked of a pack: pure functions over its history."""
