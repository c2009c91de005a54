"""Listings: tables of which one page names the entries and other pages tell their values."""
