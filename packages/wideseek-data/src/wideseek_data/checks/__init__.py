"""Checks that drop tasks or repair them; each says what it found in words that are counted."""
