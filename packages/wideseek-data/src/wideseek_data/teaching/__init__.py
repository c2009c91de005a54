"""Scripted teachers for tables and for listings, and invented ones to show them on."""
