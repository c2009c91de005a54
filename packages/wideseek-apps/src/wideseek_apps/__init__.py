"""Joins the WideSeek packages for the four apps."""
